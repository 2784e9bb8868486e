//! Moves of servers: what each was and is to be, and how far it got. Conductor's flows write them; `os-migrations` and a server's own
//! `migrations` show them.

pub mod api;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Result, ids};
use rpc::compute::Flavor;
use rpc::live_migration::Progress;
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, ConnectionTrait, QueryOrder, Set};

use crate::servers::instance;
use crate::servers::store::next_numbers;

/// A row of `migrations`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "migrations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    /// Also the consumer that holds the allocations of the old place.
    pub id: String,
    pub instance_id: String,
    pub project_id: String,
    pub user_id: String,
    /// [`RESIZE`], [`MIGRATION`], [`LIVE`] or [`EVACUATION`].
    pub migration_type: String,
    pub status: String,
    pub source_host: Option<String>,
    pub source_node: Option<String>,
    pub dest_host: Option<String>,
    pub dest_node: Option<String>,
    pub old_flavor: Json<Flavor>,
    pub new_flavor: Json<Flavor>,
    pub old_vm_state: String,
    pub progress: Option<Json<Progress>>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub const RESIZE: &str = "resize";
pub const MIGRATION: &str = "migration";
pub const LIVE: &str = "live-migration";
pub const EVACUATION: &str = "evacuation";

/// The status of an evacuation that came to its end.
pub const DONE: &str = "done";

/// A migration of a server that begins, as part of the transaction that begins it; answers its id.
pub async fn insert(
    tx: &impl ConnectionTrait,
    ctx: &Context,
    server: &instance::Model,
    migration_type: &str,
    new_flavor: &Flavor,
) -> Result<String> {
    let (id, now) = (ids::uuid(), Timestamp::now());
    let row = Model {
        number: next_numbers(tx, "migrations", 1).await?,
        id: id.clone(),
        instance_id: server.id.clone(),
        project_id: server.project_id.clone(),
        user_id: ctx.user_id()?.to_owned(),
        migration_type: migration_type.to_owned(),
        status: "pre-migrating".to_owned(),
        source_host: server.host.clone(),
        source_node: server.node.clone(),
        dest_host: None,
        dest_node: None,
        old_flavor: server.flavor.clone(),
        new_flavor: Json(new_flavor.clone()),
        old_vm_state: server.vm_state.clone(),
        progress: None,
        created_at: now,
        updated_at: now,
    };
    Entity::insert(ActiveModel::from(row)).exec_without_returning(tx).await?;
    Ok(id)
}

pub async fn load(db: &impl ConnectionTrait, id: &str) -> Result<Option<Model>> {
    Ok(Entity::find().filter(Column::Id.eq(id)).one(db).await?)
}

/// Changes a migration.
pub async fn change(tx: &impl ConnectionTrait, id: &str, mut change: ActiveModel) -> Result<()> {
    change.updated_at = Set(Timestamp::now());
    Entity::update_many().set(change).filter(Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}

/// Changes a migration that is in one of these states; false when it is not.
pub async fn change_from(tx: &impl ConnectionTrait, id: &str, states: &[&str], mut change: ActiveModel) -> Result<bool> {
    change.updated_at = Set(Timestamp::now());
    let update = Entity::update_many().set(change).filter(Column::Id.eq(id)).filter(Column::Status.is_in(states.iter().copied()));
    Ok(update.exec(tx).await?.rows_affected == 1)
}

/// Says how far a migration is.
pub async fn set_status(tx: &impl ConnectionTrait, id: &str, status: &str) -> Result<()> {
    change(tx, id, ActiveModel { status: Set(status.to_owned()), ..Default::default() }).await
}

/// The resize or move of a server that waits to be confirmed or reverted.
pub async fn finished_of(db: &impl ConnectionTrait, instance_id: &str) -> Result<Option<Model>> {
    let found = Entity::find().filter(Column::InstanceId.eq(instance_id)).filter(Column::Status.eq("finished"));
    Ok(found.filter(Column::MigrationType.is_in([RESIZE, MIGRATION])).order_by_desc(Column::Number).one(db).await?)
}

/// Resizes and moves of a server that may have left something at their source or in placement.
pub async fn moves_of(db: &impl ConnectionTrait, instance_id: &str) -> Result<Vec<Model>> {
    let found = Entity::find().filter(Column::InstanceId.eq(instance_id)).filter(Column::MigrationType.is_in([RESIZE, MIGRATION]));
    Ok(found.filter(Column::Status.is_not_in(["confirmed", "reverted"])).order_by_asc(Column::Number).all(db).await?)
}

/// Whether servers are on their way to or from a host; those that wait to be confirmed or reverted are.
pub async fn under_way(db: &impl ConnectionTrait, host: &str) -> Result<bool> {
    let ended = ["confirmed", "reverted", "error", "failed", "completed", "cancelled", "done"];
    let here = Condition::any().add(Column::SourceHost.eq(host)).add(Column::DestHost.eq(host));
    Ok(Entity::find().filter(here).filter(Column::Status.is_not_in(ended)).count(db).await? > 0)
}
