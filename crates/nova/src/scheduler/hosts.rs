//! The hosts as nova's own database knows them, gathered once for many decisions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kit::Result;
use kit::db::Json;
use rpc::conductor::HostInventory;
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, QuerySelect};
use serde_json::Value;

use super::machines::{Machine, Machines, Node};
use crate::servers::instance;
use crate::{Nova, os_aggregates, os_services};

/// What an aggregate says of its hosts.
pub type Metadata = Arc<BTreeMap<String, String>>;

/// A host as nova knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    pub host: String,
    pub node: String,
    /// Its resource provider.
    pub provider: String,
    pub zone: String,
    pub up: bool,
    pub enabled: bool,
    /// As [`Machine`] has it.
    pub inventory: Arc<HostInventory>,
    pub cpu: Arc<Value>,
    /// Of the aggregates it is in.
    pub aggregates: Vec<Metadata>,
    /// Servers on it with which something is being done.
    pub busy: usize,
    /// Its servers; counted only where an aggregate or the operator looks at them.
    pub servers: usize,
    /// How many of its servers have images with a property of some value; counted only where the operator looks at them.
    pub images: HashMap<(String, String), usize>,
    /// Builds that failed on it since the last that did not.
    pub failed_builds: i64,
}

/// All hosts.
#[derive(Debug, Default)]
pub struct Hosts {
    pub all: Vec<Arc<Host>>,
    by_provider: HashMap<String, Arc<Host>>,
    by_name: HashMap<String, Arc<Host>>,
    /// The aggregates that make a zone, by its name.
    pub zones: BTreeMap<String, Vec<String>>,
}

impl Hosts {
    pub fn of_provider(&self, provider: &str) -> Option<&Arc<Host>> {
        self.by_provider.get(provider)
    }

    /// By the name of the host or of its hypervisor.
    pub fn named(&self, name: &str) -> Option<&Arc<Host>> {
        self.by_name.get(name)
    }

    pub fn new(all: Vec<Host>, zones: BTreeMap<String, Vec<String>>) -> Hosts {
        let all: Vec<Arc<Host>> = all.into_iter().map(Arc::new).collect();
        let nodes = all.iter().map(|host| (host.node.clone(), host.clone()));
        // a host's own name goes before that of another's hypervisor
        let by_name = nodes.chain(all.iter().map(|host| (host.host.clone(), host.clone()))).collect();
        Hosts { by_provider: all.iter().map(|host| (host.provider.clone(), host.clone())).collect(), by_name, zones, all }
    }
}

/// Reads them; `machines` are those that were there when they were read last.
pub async fn read(app: &Nova, machines: &mut Machines) -> Result<Hosts> {
    let services = os_services::compute_hosts(app).await?;
    let services: HashMap<&str, &os_services::Model> = services.iter().map(|service| (service.host.as_str(), service)).collect();
    let nodes = machines.read(app.db.read()).await?;
    let aggregates = os_aggregates::membership(app.db.read()).await?;
    let mut busy = counted(app.db.read(), true).await?;
    let settings = &app.config.filter_scheduler;
    let limited = app.config.max_instances_per_host.is_some() || aggregates.names("max_instances_per_host");
    let weighed = settings.num_instances_weight_multiplier != 0.0;
    let mut images = if settings.image_props_weight_multiplier == 0.0 { HashMap::new() } else { of_images(app.db.read()).await? };
    let mut servers = if limited || weighed { counted(app.db.read(), false).await? } else { HashMap::new() };
    let host = |(node, machine): (Node, Machine)| {
        let service = services.get(node.host.as_str())?;
        Some(Host {
            up: service.is_up(app.config.service_down_time),
            enabled: !service.disabled,
            zone: service.zone.clone(),
            provider: node.id,
            node: node.hypervisor_hostname,
            inventory: machine.inventory,
            cpu: machine.cpu,
            aggregates: aggregates.of(&node.host),
            busy: busy.remove(&node.host).unwrap_or_default(),
            servers: servers.remove(&node.host).unwrap_or_default(),
            images: images.remove(&node.host).unwrap_or_default(),
            failed_builds: node.failed_builds,
            host: node.host,
        })
    };
    Ok(Hosts::new(nodes.into_iter().filter_map(host).collect(), aggregates.zones()))
}

/// Servers by host: all, or those with which something is being done.
async fn counted(db: &impl ConnectionTrait, busy: bool) -> Result<HashMap<String, usize>> {
    use instance::{Column, Entity};
    let mut select = Entity::find().select_only().column(Column::Host).column_as(Column::Id.count(), "servers");
    if busy {
        select = select.filter(Column::TaskState.is_not_null());
    }
    let rows: Vec<(String, i64)> =
        select.filter(Column::Deleted.eq(false)).filter(Column::Host.is_not_null()).group_by(Column::Host).into_tuple().all(db).await?;
    Ok(rows.into_iter().map(|(host, servers)| (host, usize::try_from(servers).unwrap_or_default())).collect())
}

/// Servers by host and by each property of their images.
async fn of_images(db: &impl ConnectionTrait) -> Result<HashMap<String, HashMap<(String, String), usize>>> {
    use instance::{Column, Entity, Spec};
    let select = Entity::find().select_only().columns([Column::Host, Column::Spec]);
    let rows: Vec<(String, Json<Spec>)> =
        select.filter(Column::Deleted.eq(false)).filter(Column::Host.is_not_null()).into_tuple().all(db).await?;
    let mut counted: HashMap<String, HashMap<(String, String), usize>> = HashMap::new();
    for (host, spec) in rows {
        let of_host = counted.entry(host).or_default();
        for property in spec.0.image_properties {
            *of_host.entry(property).or_default() += 1;
        }
    }
    Ok(counted)
}
