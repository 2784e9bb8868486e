//! Instances for hosts that have no database: read, saved with guards, and what a guest may know of itself.

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Error, Result};
use rpc::compute::{Instance, InstanceMetadata};
use rpc::conductor::{GetInstance, GetMetadata, HostInstances, RecordEvents, SaveInstance, SavePassword, Saved, SavedBlockDevice};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, Set};

use crate::Nova;
use crate::instance_actions::record::Span;
use crate::notifications::updates::Update;
use crate::servers::block_devices;
use crate::servers::instance::{ActiveModel, Column, Entity, addresses};
use crate::servers::states::{TaskState, VmState};
use crate::servers::store::{self, Guard, Standing};

/// Steps 15 to 18: the request off the queue, the row, the answer.
pub async fn get(app: &Nova, message: GetInstance) -> Result<Option<Instance>> {
    let span = Span::begin("conductor_read_instance", "nova-conductor", "database");
    let Some(server) = store::load(app.db.read(), &message.instance_id).await? else { return Ok(None) };
    let devices = store::block_devices_of(app.db.read(), &server.id).await?;
    if server.vm_state == "building"
        && let Some(request) = app.builds.request_of(&server.id)
    {
        app.events.push(&server.id, &request, [span.done(None)]);
    }
    Ok(Some(server.to_rpc(devices)))
}

/// Saves what a host changed, while the instance is its own and nothing else happened to it.
pub async fn save(app: &Nova, message: SaveInstance) -> Result<Saved> {
    let strange_task = message.task_state.iter().flatten().any(|task| TaskState::parse(task).is_none());
    if strange_task || message.vm_state.iter().any(|state| VmState::parse(state).is_none()) {
        return Err(Error::bad_request(format!("There is no such state: {:?}, {:?}", message.vm_state, message.task_state)));
    }
    let (saved, before) = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let Some(server) = store::standing(tx, &message.instance_id).await? else { return Ok((Saved::Gone, None)) };
                if server.host.as_deref() != Some(&message.host) || server.is_deleting() {
                    return Ok((Saved::Gone, None));
                }
                if message.expected_task_state.as_ref().is_some_and(|expected| *expected != server.task_state) {
                    return Ok((Saved::Conflict, None));
                }
                for device in &message.block_devices {
                    save_device(tx, &server.id, device).await?;
                }
                let guard = Guard { task_state: Some(server.task_state.clone()), ..Guard::alive() };
                let new_state = message.vm_state.is_some() || message.task_state.is_some();
                let id = server.id.clone();
                let saved = store::change(tx, &id, guard, changes(message, &server)).await?;
                Ok(if saved { (Saved::Saved, new_state.then_some(server)) } else { (Saved::Conflict, None) })
            })
        })
        .await?;
    if let Some(before) = before {
        let request_id = app.builds.request_of(&before.id).unwrap_or_default();
        app.updates.push(&before.id, Update { request_id, vm_state: before.vm_state, task_state: before.task_state, name: None });
    }
    Ok(saved)
}

fn changes(message: SaveInstance, server: &Standing) -> ActiveModel {
    let mut change = <ActiveModel as Default>::default();
    if let Some(vm_state) = message.vm_state {
        // a server that works again has no fault to show
        if vm_state != "error" && server.has_fault {
            change.fault = Set(None);
        }
        change.vm_state = Set(vm_state);
    }
    if let Some(task_state) = message.task_state {
        change.task_state = Set(task_state);
    }
    if let Some(power_state) = message.power_state {
        change.power_state = Set(i64::from(power_state));
    }
    if message.launched && server.launched_at.is_none() {
        change.launched_at = Set(Some(Timestamp::now()));
    }
    if message.root_device_name.is_some() {
        change.root_device_name = Set(message.root_device_name);
    }
    if let Some(network_info) = message.network_info {
        change.addresses = Set(addresses(&network_info));
        change.network_info = Set(Json(network_info));
    }
    if let Some(numa) = message.numa {
        change.numa_topology = Set(numa.map(Json));
    }
    if let Some(fault) = message.fault {
        change.fault = Set(Some(Json(store::stored(fault))));
    }
    change
}

async fn save_device(tx: &impl ConnectionTrait, instance_id: &str, device: &SavedBlockDevice) -> Result<()> {
    use block_devices::{ActiveModel, Column, Entity};
    let mut change = <ActiveModel as Default>::default();
    // an absent field stays as it is
    if device.device_name.is_some() {
        change.device_name = Set(device.device_name.clone());
    }
    if device.volume_id.is_some() {
        change.volume_id = Set(device.volume_id.clone());
    }
    if device.attachment_id.is_some() {
        change.attachment_id = Set(device.attachment_id.clone());
    }
    if let Some(info) = &device.connection_info {
        change.connection_info = Set(Some(Json(info.clone())));
    }
    if change.is_changed() {
        let row = Entity::update_many().set(change).filter(Column::Id.eq(&device.bdm_id)).filter(Column::InstanceId.eq(instance_id));
        row.exec(tx).await?;
    }
    Ok(())
}

/// All instances of a host, with what hosts see of them.
pub async fn of_host(app: &Nova, message: HostInstances) -> Result<Vec<Instance>> {
    let rows = Entity::find().filter(Column::Host.eq(message.host)).filter(Column::Deleted.eq(false)).all(app.db.read()).await?;
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let mut devices: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for some in ids.chunks(500) {
        use block_devices::{Column, Entity};
        use sea_orm::QueryOrder;
        let found = Entity::find().filter(Column::InstanceId.is_in(some.iter().copied())).order_by_asc(Column::Position);
        for row in found.all(app.db.read()).await? {
            devices.entry(row.instance_id.clone()).or_default().push(row.to_rpc());
        }
    }
    Ok(rows.iter().map(|row| row.to_rpc(devices.remove(&row.id).unwrap_or_default())).collect())
}

/// What the metadata service tells a guest.
pub async fn metadata(app: &Nova, message: GetMetadata) -> Result<Option<InstanceMetadata>> {
    let Some(server) = store::load(app.db.read(), &message.instance_id).await? else { return Ok(None) };
    let devices = store::block_devices_of(app.db.read(), &server.id).await?;
    let floating = server.network_info.0.iter().flat_map(|nic| &nic.fixed_ips);
    let floating_ips = floating.filter_map(|ip| Some((ip.address, *ip.floating_ips.first()?))).collect();
    let availability_zone = server.availability_zone.clone().unwrap_or_else(|| app.config.default_zone.clone());
    let password = server.password.clone();
    Ok(Some(InstanceMetadata { instance: server.to_rpc(devices), availability_zone, floating_ips, password }))
}

/// A guest tells its password, once.
pub async fn save_password(app: &Nova, message: SavePassword) -> Result<bool> {
    let saved = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let change = ActiveModel { password: Set(Some(message.password)), ..Default::default() };
                let free = Entity::update_many().set(change).filter(Column::Id.eq(&message.instance_id)).filter(Column::Deleted.eq(false));
                Ok(free.filter(Column::Password.is_null()).exec(tx).await?.rows_affected)
            })
        })
        .await?;
    Ok(saved > 0)
}

/// Steps that somebody in nova took.
pub async fn record_events(app: &Nova, message: RecordEvents) -> Result<()> {
    app.events.push(&message.instance_id, &message.request_id, message.events);
    Ok(())
}
