//! The queries of aggregates, and the zone of a host that follows from them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kit::clock::Timestamp;
use kit::db::{Json, is_duplicate};
use kit::{Error, Result};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, IntoActiveModel, QueryOrder, Set};

use super::{ActiveModel, Column, Entity, Model};
use crate::os_services;

/// The metadata key that makes an aggregate an availability zone.
pub const ZONE: &str = "availability_zone";

/// A row of `aggregate_hosts`.
mod member {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "aggregate_hosts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub host: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Every aggregate.
pub async fn all(db: &impl ConnectionTrait) -> Result<Vec<Model>> {
    Ok(Entity::find().order_by_asc(Column::Number).all(db).await?)
}

/// By number; 404 when there is none.
pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    let found = match id.parse::<i64>() {
        Ok(number) => Entity::find_by_id(number).one(db).await?,
        Err(_) => return Err(Error::bad_request(format!("Invalid aggregate id {id}."))),
    };
    found.ok_or_else(|| Error::not_found(format!("Aggregate {id} could not be found.")))
}

/// The hosts of every aggregate, by its number.
pub async fn hosts(db: &impl ConnectionTrait) -> Result<HashMap<i64, Vec<String>>> {
    let mut hosts: HashMap<i64, Vec<String>> = HashMap::new();
    for row in member::Entity::find().order_by_asc(member::Column::Host).all(db).await? {
        hosts.entry(row.number).or_default().push(row.host);
    }
    Ok(hosts)
}

/// Which hosts are in which aggregates.
#[derive(Debug, Default)]
pub struct Membership {
    aggregates: Vec<(String, Arc<BTreeMap<String, String>>)>,
    /// Host to places in the list.
    hosts: HashMap<String, Vec<usize>>,
}

/// Reads all of it.
pub async fn membership(db: &impl ConnectionTrait) -> Result<Membership> {
    let (rows, mut members) = (all(db).await?, hosts(db).await?);
    let mut membership = Membership::default();
    for (place, row) in rows.into_iter().enumerate() {
        for host in members.remove(&row.number).unwrap_or_default() {
            membership.hosts.entry(host).or_default().push(place);
        }
        membership.aggregates.push((row.id, Arc::new(row.metadata.0)));
    }
    Ok(membership)
}

impl Membership {
    /// Whether any aggregate says something under this key.
    pub fn names(&self, key: &str) -> bool {
        self.aggregates.iter().any(|(_, metadata)| metadata.contains_key(key))
    }

    /// The metadata of a host's aggregates.
    pub fn of(&self, host: &str) -> Vec<Arc<BTreeMap<String, String>>> {
        let places = self.hosts.get(host).into_iter().flatten();
        places.filter_map(|place| self.aggregates.get(*place)).map(|(_, metadata)| metadata.clone()).collect()
    }

    /// The uuids of the aggregates that make a zone, by its name.
    pub fn zones(&self) -> BTreeMap<String, Vec<String>> {
        let mut zones: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, metadata) in &self.aggregates {
            if let Some(zone) = metadata.get(ZONE) {
                zones.entry(zone.clone()).or_default().push(id.clone());
            }
        }
        zones
    }
}

/// 409 when the name is taken.
pub async fn insert(tx: &impl ConnectionTrait, aggregate: Model) -> Result<()> {
    let name = aggregate.name.clone();
    named(Entity::insert(aggregate.into_active_model().reset_all()).exec_without_returning(tx).await.map(drop), &name)
}

/// Changes the name or the metadata; 409 when the name is taken.
pub async fn change(tx: &impl ConnectionTrait, number: i64, name: Option<String>, metadata: BTreeMap<String, String>) -> Result<()> {
    let mut row = ActiveModel { metadata: Set(Json(metadata)), updated_at: Set(Some(Timestamp::now())), ..Default::default() };
    let words = name.clone().unwrap_or_default();
    if let Some(name) = name {
        row.name = Set(name);
    }
    named(Entity::update_many().set(row).filter(Column::Number.eq(number)).exec(tx).await.map(drop), &words)
}

fn named(outcome: std::result::Result<(), DbErr>, name: &str) -> Result<()> {
    match outcome {
        Err(error) if is_duplicate(&error) => Err(Error::conflict(format!("Aggregate {name} already exists."))),
        other => Ok(other?),
    }
}

/// 400 while it has hosts.
pub async fn delete(tx: &impl ConnectionTrait, number: i64) -> Result<()> {
    if member::Entity::find().filter(member::Column::Number.eq(number)).one(tx).await?.is_some() {
        return Err(Error::bad_request(format!("Cannot remove host from aggregate {number}. Reason: the aggregate is not empty.")));
    }
    Entity::delete_by_id(number).exec(tx).await?;
    Ok(())
}

/// 409 when the host is in it already.
pub async fn add_host(tx: &impl ConnectionTrait, number: i64, host: &str) -> Result<()> {
    let row = member::ActiveModel { number: Set(number), host: Set(host.to_owned()) };
    match member::Entity::insert(row).exec_without_returning(tx).await {
        Err(error) if is_duplicate(&error) => Err(Error::conflict(format!("Aggregate {number} already has host {host}."))),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// 404 when the host is not in it.
pub async fn remove_host(tx: &impl ConnectionTrait, number: i64, host: &str) -> Result<()> {
    let gone = member::Entity::delete_by_id((number, host.to_owned())).exec(tx).await?.rows_affected == 1;
    if gone { Ok(()) } else { Err(Error::not_found(format!("Aggregate {number} has no host {host}."))) }
}

/// The uuids of the aggregates a host is in.
pub async fn of_host(db: &impl ConnectionTrait, host: &str) -> Result<Vec<String>> {
    let hosts = hosts(db).await?;
    let has = |aggregate: &Model| hosts.get(&aggregate.number).is_some_and(|hosts| hosts.iter().any(|have| have == host));
    Ok(all(db).await?.into_iter().filter(has).map(|aggregate| aggregate.id).collect())
}

/// A host that is gone is in no aggregate.
pub async fn forget_host(tx: &impl ConnectionTrait, host: &str) -> Result<()> {
    member::Entity::delete_many().filter(member::Column::Host.eq(host)).exec(tx).await?;
    Ok(())
}

/// Puts every host into the zone that its aggregates name, or the default one; 409 when they name two. Answers the hosts that moved.
pub async fn settle_zones(tx: &impl ConnectionTrait, default_zone: &str) -> Result<Vec<String>> {
    let mut moved = Vec::new();
    let hosts = hosts(tx).await?;
    let mut zones: HashMap<&str, &str> = HashMap::new();
    let aggregates = all(tx).await?;
    for aggregate in &aggregates {
        let Some(zone) = aggregate.metadata.0.get(ZONE) else { continue };
        for host in hosts.get(&aggregate.number).into_iter().flatten() {
            if zones.insert(host, zone).is_some_and(|other| other != zone) {
                return Err(Error::conflict(format!("Host {host} already exists in availability zone; a host can be in one only.")));
            }
        }
    }
    let computes = os_services::Entity::find().filter(os_services::Column::Service.eq(os_services::COMPUTE));
    for service in computes.all(tx).await? {
        let zone = zones.get(service.host.as_str()).copied().unwrap_or(default_zone);
        if service.zone != zone {
            let row = os_services::ActiveModel { zone: Set(zone.to_owned()), ..Default::default() };
            os_services::Entity::update_many().set(row).filter(os_services::Column::Id.eq(service.id)).exec(tx).await?;
            moved.push(service.host);
        }
    }
    Ok(moved)
}
