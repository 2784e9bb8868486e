//! What the hosts have, kept parsed: of ten thousand hosts few change, and only those are read again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kit::Result;
use kit::db::Json;
use rpc::conductor::HostInventory;
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, QueryOrder, QuerySelect};
use serde_json::Value;

use crate::hypervisors::node::{Column, Entity};

/// Inventories read at once: each is some kilobytes of JSON.
const CHUNK: usize = 256;

/// A row of `compute_nodes` without the inventory.
pub struct Node {
    pub id: String,
    pub host: String,
    pub hypervisor_hostname: String,
    pub failed_builds: i64,
}

/// What a host says it has.
#[derive(Clone)]
pub struct Machine {
    /// Without the processors, and without the traits, which are placement's to look at.
    pub inventory: Arc<HostInventory>,
    /// One for all hosts that say the same.
    pub cpu: Arc<Value>,
}

/// The machines that were read, by node, with the version that was read.
#[derive(Default)]
pub struct Machines {
    known: HashMap<String, (i64, Machine)>,
    cpus: HashMap<String, Arc<Value>>,
}

impl Machines {
    /// Every hypervisor, oldest first.
    pub async fn read(&mut self, db: &impl ConnectionTrait) -> Result<Vec<(Node, Machine)>> {
        let columns = [Column::Id, Column::Host, Column::HypervisorHostname, Column::FailedBuilds, Column::Version];
        let select = Entity::find().select_only().columns(columns).order_by_asc(Column::Number);
        let rows: Vec<(String, String, String, i64, i64)> = select.into_tuple().all(db).await?;
        let is_known = |id: &String, version: i64| self.known.get(id).is_some_and(|(known, _)| *known == version);
        let changed: Vec<String> = rows.iter().filter(|row| !is_known(&row.0, row.4)).map(|row| row.0.clone()).collect();
        for some in changed.chunks(CHUNK) {
            self.learn(db, some).await?;
        }
        let found = rows.into_iter().filter_map(|(id, host, hypervisor_hostname, failed_builds, _)| {
            let machine = self.known.get(&id)?.1.clone();
            Some((Node { id, host, hypervisor_hostname, failed_builds }, machine))
        });
        let found: Vec<(Node, Machine)> = found.collect();
        self.forget_others(&found);
        Ok(found)
    }

    async fn learn(&mut self, db: &impl ConnectionTrait, ids: &[String]) -> Result<()> {
        let select = Entity::find().select_only().columns([Column::Id, Column::Version, Column::Inventory]);
        let rows: Vec<(String, i64, Json<HostInventory>)> =
            select.filter(Column::Id.is_in(ids.iter().map(String::as_str))).into_tuple().all(db).await?;
        for (id, version, Json(mut inventory)) in rows {
            let cpu = std::mem::take(&mut inventory.cpu_info);
            let cpu = self.cpus.entry(cpu.to_string()).or_insert_with(|| Arc::new(cpu)).clone();
            inventory.traits = Vec::new();
            self.known.insert(id, (version, Machine { inventory: Arc::new(inventory), cpu }));
        }
        Ok(())
    }

    /// Lets go of what no host has any more.
    fn forget_others(&mut self, found: &[(Node, Machine)]) {
        if self.known.len() > found.len() {
            let there: HashSet<&str> = found.iter().map(|(node, _)| node.id.as_str()).collect();
            self.known.retain(|id, _| there.contains(id.as_str()));
        }
        // the map has one, a machine the other
        self.cpus.retain(|_, cpu| Arc::strong_count(cpu) > 1);
    }
}
