//! What hosts report: that they live, what they have, and what runs on them. Placement is told only what changed, and those that only live
//! are noted together.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Result, ids};
use rpc::conductor::{Heard, HostInventory, ReportHost};
use sdk::placement::{Inventory, InventoryMap};
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;

use super::fencing;
use crate::Nova;
use crate::hypervisors::node;
use crate::os_services::{self as services, COMPUTE};
use crate::scheduler::request_filter;
use crate::servers::instance;
use crate::servers::states::{VmState, power};
use crate::servers::store::{self, Guard};

/// How often all that a host reports is compared, whatever it reported before.
const COMPARED: Duration = Duration::from_secs(600);
/// A server that changed just now may not be as its host saw it.
const SETTLED: Duration = Duration::from_secs(5);
/// Keys of one query.
const CHUNK: usize = 500;

/// A host is alive.
pub async fn report(app: &Nova, message: ReportHost) -> Result<Heard> {
    // a host that arrives, or that was not heard for a while, says what it has
    let arrived = message.inventory.is_some();
    let known = match message.inventory {
        Some(inventory) => take_in(app, &message.host, inventory).await.map(|()| true)?,
        None => app.beats.go(message.host.clone(), |hosts| beat(app, hosts)).await?,
    };
    let evacuated = match message.instances {
        Some(instances) => {
            if arrived {
                app.reported.forget(&message.host);
            }
            sync_power(app, &message.host, instances).await?
        }
        None => Vec::new(),
    };
    Ok(Heard { known, evacuated })
}

/// What the host has.
async fn take_in(app: &Nova, host: &str, inventory: HostInventory) -> Result<()> {
    let known = node::Entity::find().filter(node::Column::Host.eq(host)).one(app.db.read()).await?;
    let changed = known.as_ref().is_none_or(|known| known.inventory.0 != inventory);
    let node_id = ids::derived("compute_node", host);
    if changed {
        tell_placement(app, host, &node_id, &inventory).await?;
    }
    alive(app, host, &node_id, changed.then_some(inventory)).await?;
    if changed {
        app.hosts.forget();
    }
    Ok(())
}

/// These hosts live and are as they were; for each, whether it is known: what it has came and goes with its service.
async fn beat(app: &Nova, hosts: Vec<String>) -> Result<Vec<bool>> {
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let mut known = Vec::with_capacity(hosts.len());
                for some in hosts.chunks(CHUNK) {
                    if services::beat(tx, some, COMPUTE).await? == some.len() as u64 {
                        known.extend(some.iter().map(|_| true));
                    } else {
                        let found = services::named(tx, some, COMPUTE).await?;
                        known.extend(some.iter().map(|host| found.contains(host)));
                    }
                }
                Ok(known)
            })
        })
        .await
}

async fn tell_placement(app: &Nova, host: &str, node_id: &str, inventory: &HostInventory) -> Result<()> {
    let auth = app.session.auth("").await?;
    let placement = &app.cloud.placement;
    placement.ensure_provider(&auth, node_id, &inventory.hypervisor_hostname).await?;
    let config = &app.config;
    let classes = [
        ("VCPU", i64::from(inventory.vcpus), 0, config.cpu_allocation_ratio),
        ("PCPU", i64::from(inventory.pcpus), 0, 1.0),
        ("MEMORY_MB", inventory.memory_mb as i64, config.reserved_host_memory_mb, config.ram_allocation_ratio),
        ("DISK_GB", inventory.local_gb as i64, 0, config.disk_allocation_ratio),
    ];
    let some = classes.into_iter().filter(|(_, total, _, _)| *total > 0);
    let inventories: InventoryMap = some
        .map(|(class, total, reserved, ratio)| {
            (class.to_owned(), Inventory { reserved: reserved.min(total), allocation_ratio: ratio, ..Inventory::of(total) })
        })
        .collect();
    placement.set_inventories(&auth, node_id, &inventories).await?;
    placement.set_traits(&auth, node_id, &traits(inventory, services::is_disabled(app, host).await?)).await?;
    Ok(())
}

/// Tells placement whether a host gets new servers.
pub async fn tell_status(app: &Nova, host: &str, disabled: bool) -> Result<()> {
    let Some(node) = node::Entity::find().filter(node::Column::Host.eq(host)).one(app.db.read()).await? else { return Ok(()) };
    let auth = app.session.auth("").await?;
    app.cloud.placement.set_traits(&auth, &node.id, &traits(&node.inventory.0, disabled)).await?;
    Ok(())
}

fn traits(inventory: &HostInventory, disabled: bool) -> Vec<String> {
    inventory.traits.iter().cloned().chain(disabled.then(|| request_filter::DISABLED.to_owned())).collect()
}

/// The service's sign of life, and the node's inventory when it changed.
async fn alive(app: &Nova, host: &str, node_id: &str, inventory: Option<HostInventory>) -> Result<()> {
    let (host, node_id, zone) = (host.to_owned(), node_id.to_owned(), app.config.default_zone.clone());
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let service = services::ensure(tx, &host, COMPUTE, &zone).await?;
                let Some(inventory) = inventory else { return Ok(()) };
                let row = node::ActiveModel {
                    id: Set(node_id.clone()),
                    service_id: Set(service.id),
                    number: Set(service.number),
                    host: Set(host),
                    hypervisor_hostname: Set(inventory.hypervisor_hostname.clone()),
                    inventory: Set(Json(inventory)),
                    failed_builds: Set(0),
                    version: Set(0),
                };
                let latest = sea_orm::sea_query::OnConflict::column(node::Column::Id)
                    .update_columns([node::Column::ServiceId, node::Column::HypervisorHostname, node::Column::Inventory])
                    .value(node::Column::Version, Expr::cust("compute_nodes.version + 1"))
                    .to_owned();
                node::Entity::insert(row).on_conflict(latest).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await
}

/// What hosts said of their guests' power, where that agreed with the servers: only what differs from it is looked at.
#[derive(Default)]
pub struct Reported(Mutex<HashMap<String, Agreed>>);

struct Agreed {
    since: Instant,
    power: HashMap<String, u8>,
}

impl Reported {
    /// What of a report is to be compared with the servers: all of it now and then, else what is new.
    fn news(&self, host: &str, report: Vec<(String, u8)>) -> Vec<(String, u8)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let agreed = all.entry(host.to_owned()).or_insert_with(|| Agreed { since: Instant::now(), power: HashMap::new() });
        if agreed.since.elapsed() > COMPARED {
            *agreed = Agreed { since: Instant::now(), power: HashMap::new() };
        }
        let before = std::mem::take(&mut agreed.power);
        let (same, news): (Vec<_>, Vec<_>) = report.into_iter().partition(|(id, power)| before.get(id) == Some(power));
        agreed.power = same.into_iter().collect();
        news
    }

    fn agree(&self, host: &str, id: String, power: u8) {
        if let Some(agreed) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(host) {
            agreed.power.insert(id, power);
        }
    }

    /// All of its next report is compared.
    fn forget(&self, host: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
    }
}

/// Power states as the host sees them. A guest that ended by itself is stopped; a guest that runs is active. Answers those that are not the
/// host's any more.
async fn sync_power(app: &Nova, host: &str, reported: Vec<(String, u8)>) -> Result<Vec<String>> {
    use instance::{Column, Entity};
    use sea_orm::QuerySelect;
    let news = app.reported.news(host, reported);
    let settled = Timestamp::now().minus(SETTLED);
    let mut evacuated = Vec::new();
    for some in news.chunks(CHUNK) {
        let rows: Vec<(String, String, i64, Timestamp)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::VmState, Column::PowerState, Column::UpdatedAt])
            .filter(Column::Id.is_in(some.iter().map(|(id, _)| id.as_str())))
            .filter(Column::Host.eq(host))
            .filter(Column::Deleted.eq(false))
            .filter(Column::TaskState.is_null())
            .into_tuple()
            .all(app.db.read())
            .await?;
        let mut seen: HashMap<&str, u8> = some.iter().map(|(id, power)| (id.as_str(), *power)).collect();
        for (id, vm_state, power_state, updated) in rows {
            let Some(seen) = seen.remove(id.as_str()) else { continue };
            if i64::from(seen) == power_state {
                app.reported.agree(host, id, seen);
            } else if updated <= settled {
                follow(app, host, &id, vm_state, seen).await?;
            }
        }
        evacuated.extend(fencing::evacuated_from(app, host, seen.into_keys().collect()).await?);
    }
    Ok(evacuated)
}

async fn follow(app: &Nova, host: &str, id: &str, vm_state: String, seen: u8) -> Result<()> {
    let ended = matches!(seen, power::SHUTDOWN | power::CRASHED);
    let mut change = instance::ActiveModel { power_state: Set(i64::from(seen)), ..Default::default() };
    if ended && vm_state == VmState::Active.word() {
        change.vm_state = Set(VmState::Stopped.word().into());
    } else if seen == power::RUNNING && vm_state == VmState::Stopped.word() {
        change.vm_state = Set(VmState::Active.word().into());
    }
    let guard = Guard { vm_state: Some(vm_state), task_state: Some(None), host: Some(Some(host.to_owned())), ..Guard::default() };
    store::save(app, id, guard, change).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agreed_is_not_looked_at_again_until_it_changes() {
        let reported = Reported::default();
        let all = |power: u8| vec![("a".to_owned(), 1), ("b".to_owned(), power)];
        assert_eq!(reported.news("h", all(1)), all(1));
        reported.agree("h", "a".into(), 1);
        reported.agree("h", "b".into(), 1);
        assert!(reported.news("h", all(1)).is_empty());
        assert_eq!(reported.news("h", all(4)), [("b".to_owned(), 4)]);
        assert_eq!(reported.news("h", all(4)), [("b".to_owned(), 4)], "nobody agreed");
        assert_eq!(reported.news("other", all(1)), all(1));
        reported.forget("h");
        assert_eq!(reported.news("h", all(4)), all(4), "it was away");
    }
}
