//! What hosts report: that they live, what they have, and what runs on them. Placement is told only what changed.

use std::collections::HashMap;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Result, ids};
use rpc::conductor::{HostInventory, ReportHost};
use sdk::placement::{Inventory, InventoryMap};
use sea_orm::Set;
use sea_orm::entity::prelude::*;

use crate::Nova;
use crate::hypervisors::node;
use crate::os_services::{self as services, COMPUTE};
use crate::servers::instance;
use crate::servers::states::{VmState, power};
use crate::servers::store::{self, Guard};

/// A host is alive.
pub async fn report(app: &Nova, message: ReportHost) -> Result<()> {
    let known = node::Entity::find().filter(node::Column::Host.eq(&message.host)).one(app.db.read()).await?;
    let changed = known.as_ref().is_none_or(|known| known.inventory.0 != message.inventory);
    let node_id = ids::derived("compute_node", &message.host);
    if changed {
        tell_placement(app, &node_id, &message.inventory).await?;
    }
    alive(app, &message.host, &node_id, changed.then(|| message.inventory.clone())).await?;
    if changed {
        app.hosts.forget();
    }
    match message.instances {
        Some(instances) => sync_power(app, &message.host, instances).await,
        None => Ok(()),
    }
}

async fn tell_placement(app: &Nova, node_id: &str, inventory: &HostInventory) -> Result<()> {
    let auth = app.session.auth("").await?;
    let placement = &app.cloud.placement;
    placement.ensure_provider(&auth, node_id, &inventory.hypervisor_hostname).await?;
    let config = &app.config;
    let classes = [
        ("VCPU", i64::from(inventory.vcpus), 0, config.cpu_allocation_ratio),
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
    placement.set_traits(&auth, node_id, &inventory.traits).await?;
    Ok(())
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
                };
                let latest = sea_orm::sea_query::OnConflict::column(node::Column::Id)
                    .update_columns([node::Column::ServiceId, node::Column::HypervisorHostname, node::Column::Inventory])
                    .to_owned();
                node::Entity::insert(row).on_conflict(latest).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await
}

/// Power states as the host sees them. A guest that ended by itself is stopped; a guest that runs is active.
async fn sync_power(app: &Nova, host: &str, reported: Vec<(String, u8)>) -> Result<()> {
    use instance::{Column, Entity};
    use sea_orm::QuerySelect;
    let reported: HashMap<String, u8> = reported.into_iter().collect();
    let mine: Vec<(String, String, i64, Timestamp)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::VmState, Column::PowerState, Column::UpdatedAt])
        .filter(Column::Host.eq(host))
        .filter(Column::Deleted.eq(false))
        .filter(Column::TaskState.is_null())
        .into_tuple()
        .all(app.db.read())
        .await?;
    let settled = Timestamp::now().minus(std::time::Duration::from_secs(5));
    for (id, vm_state, power_state, updated) in mine {
        let Some(seen) = reported.get(&id) else { continue };
        if i64::from(*seen) == power_state || updated > settled {
            continue;
        }
        let ended = matches!(*seen, power::SHUTDOWN | power::CRASHED);
        let mut change = instance::ActiveModel { power_state: Set(i64::from(*seen)), ..Default::default() };
        if ended && vm_state == VmState::Active.word() {
            change.vm_state = Set(VmState::Stopped.word().into());
        } else if *seen == power::RUNNING && vm_state == VmState::Stopped.word() {
            change.vm_state = Set(VmState::Active.word().into());
        }
        let guard = Guard { vm_state: Some(vm_state), task_state: Some(None), host: Some(Some(host.to_owned())), ..Guard::default() };
        store::save(app, &id, guard, change).await?;
    }
    Ok(())
}
