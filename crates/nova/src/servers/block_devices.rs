//! The `block_devices` table: the disks and volumes of servers, in the second form of the mapping.

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Result, ids};
use rpc::compute::BlockDevice;
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use serde_json::Value;

use crate::Nova;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "block_devices")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub instance_id: String,
    pub position: i64,
    pub source_type: String,
    pub destination_type: String,
    pub image_id: Option<String>,
    pub snapshot_id: Option<String>,
    pub volume_id: Option<String>,
    pub volume_size: Option<i64>,
    pub volume_type: Option<String>,
    pub boot_index: Option<i64>,
    pub delete_on_termination: bool,
    pub device_name: Option<String>,
    pub disk_bus: Option<String>,
    pub device_type: Option<String>,
    pub guest_format: Option<String>,
    pub tag: Option<String>,
    pub attachment_id: Option<String>,
    pub connection_info: Option<Json<Value>>,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// As hosts see it.
    pub fn to_rpc(&self) -> BlockDevice {
        BlockDevice {
            bdm_id: self.id.clone(),
            source_type: self.source_type.clone(),
            destination_type: self.destination_type.clone(),
            image_id: self.image_id.clone(),
            snapshot_id: self.snapshot_id.clone(),
            volume_id: self.volume_id.clone(),
            volume_size: self.volume_size.and_then(|n| u64::try_from(n).ok()),
            volume_type: self.volume_type.clone(),
            boot_index: self.boot_index.and_then(|n| i32::try_from(n).ok()),
            delete_on_termination: self.delete_on_termination,
            device_name: self.device_name.clone(),
            disk_bus: self.disk_bus.clone(),
            device_type: self.device_type.clone(),
            guest_format: self.guest_format.clone(),
            tag: self.tag.clone(),
            attachment_id: self.attachment_id.clone(),
            connection_info: self.connection_info.clone().map(|json| json.0),
        }
    }
}

/// Changes a row, if there is one.
pub async fn change(app: &Nova, id: &str, change: ActiveModel) -> Result<()> {
    let id = id.to_owned();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(change).filter(Column::Id.eq(id)).exec(tx).await?;
                Ok(())
            })
        })
        .await
}

/// A row for a device of a server; each server gets rows with ids of their own.
pub fn row(instance_id: &str, position: usize, device: &BlockDevice) -> ActiveModel {
    ActiveModel {
        id: Set(if device.bdm_id.is_empty() { ids::uuid() } else { device.bdm_id.clone() }),
        instance_id: Set(instance_id.to_owned()),
        position: Set(position as i64),
        source_type: Set(device.source_type.clone()),
        destination_type: Set(device.destination_type.clone()),
        image_id: Set(device.image_id.clone()),
        snapshot_id: Set(device.snapshot_id.clone()),
        volume_id: Set(device.volume_id.clone()),
        volume_size: Set(device.volume_size.map(|n| n as i64)),
        volume_type: Set(device.volume_type.clone()),
        boot_index: Set(device.boot_index.map(i64::from)),
        delete_on_termination: Set(device.delete_on_termination),
        device_name: Set(device.device_name.clone()),
        disk_bus: Set(device.disk_bus.clone()),
        device_type: Set(device.device_type.clone()),
        guest_format: Set(device.guest_format.clone()),
        tag: Set(device.tag.clone()),
        attachment_id: Set(device.attachment_id.clone()),
        connection_info: Set(device.connection_info.clone().map(Json)),
        created_at: Set(Timestamp::now()),
    }
}
