//! Queries about services.

use std::collections::{BTreeSet, HashMap};

use kit::clock::Timestamp;
use kit::{Error, Result, ids};
use rpc::volume::Heartbeat;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set};

use super::{ActiveModel, BACKUP, Column, Entity, Model};
use crate::Cinder;

/// A sign of life.
pub async fn seen(app: &Cinder, kind: &'static str, beat: Heartbeat) -> Result<()> {
    let row = ActiveModel {
        id: Set(ids::uuid()),
        host: Set(beat.host),
        kind: Set(kind.to_owned()),
        availability_zone: Set(beat.availability_zone.unwrap_or_else(|| app.zone().to_owned())),
        disabled: Set(false),
        disabled_reason: Set(None),
        total_gb: Set(beat.total_capacity_gb),
        free_gb: Set(beat.free_capacity_gb),
        protocol: Set(beat.storage_protocol),
        seen_at: Set(Timestamp::now()),
        updated_at: Set(Timestamp::now()),
        frozen: Set(false),
        filter_function: Set(beat.filter_function),
        goodness_function: Set(beat.goodness_function),
        max_over_subscription_ratio: Set(beat.max_over_subscription_ratio),
        reserved_percentage: Set(beat.reserved_percentage),
    };
    let news = [
        Column::TotalGb,
        Column::FreeGb,
        Column::Protocol,
        Column::SeenAt,
        Column::AvailabilityZone,
        Column::FilterFunction,
        Column::GoodnessFunction,
        Column::MaxOverSubscriptionRatio,
        Column::ReservedPercentage,
    ];
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let known = OnConflict::columns([Column::Host, Column::Kind]).update_columns(news).to_owned();
                Entity::insert(row).on_conflict(known).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await
}

pub async fn all(db: &impl ConnectionTrait) -> Result<Vec<Model>> {
    Ok(Entity::find().order_by_asc(Column::Kind).order_by_asc(Column::Host).all(db).await?)
}

/// The hosts that keep volumes.
pub async fn volume_hosts(db: &impl ConnectionTrait) -> Result<Vec<Model>> {
    Ok(Entity::find().filter(Column::Kind.eq("cinder-volume")).order_by_asc(Column::Host).all(db).await?)
}

pub async fn is_up(db: &impl ConnectionTrait, host: &str) -> Result<bool> {
    Ok(volume_hosts(db).await?.iter().any(|service| service.host == host && service.is_up()))
}

/// Whether the backup service of a volume's host may make backups.
pub async fn backs_up(db: &impl ConnectionTrait, host: &str) -> Result<bool> {
    let machine = host.split('@').next().unwrap_or_default();
    let service = Entity::find().filter(Column::Kind.eq(BACKUP)).filter(Column::Host.eq(machine)).one(db).await?;
    Ok(service.is_none_or(|service| !service.disabled))
}

/// The id of each host's volume service.
pub async fn ids(db: &impl ConnectionTrait) -> Result<HashMap<String, String>> {
    Ok(volume_hosts(db).await?.into_iter().map(|service| (service.host, service.id)).collect())
}

/// Where a host's volumes are.
pub async fn zone_of(app: &Cinder, host: &str) -> Result<String> {
    let hosts = volume_hosts(app.db().read()).await?;
    Ok(hosts.into_iter().find(|service| service.host == host).map_or_else(|| app.zone().to_owned(), |service| service.availability_zone))
}

/// 400 for a zone in which no volumes are kept.
pub async fn check_zone(app: &Cinder, zone: &str) -> Result<()> {
    match zone == app.zone() || zones(app.db().read()).await?.contains(zone) {
        true => Ok(()),
        false => Err(Error::bad_request(format!("Availability zone '{zone}' is invalid."))),
    }
}

/// The zones that have a volume service.
pub async fn zones(db: &impl ConnectionTrait) -> Result<BTreeSet<String>> {
    Ok(volume_hosts(db).await?.into_iter().map(|service| service.availability_zone).collect())
}
