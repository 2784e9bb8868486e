//! The queries of servers: one row by id, guarded changes, and what hangs on a row.

use std::collections::HashMap;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Error, Result};
use rpc::compute::BlockDevice;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ConnectionTrait, FromQueryResult, QueryOrder, QuerySelect, Set, Statement};

use super::block_devices;
use super::instance::{ActiveModel, Column, Entity, Model, StoredFault};
use super::states::{TaskState, VmState};
use crate::Nova;

/// `Instance <id> could not be found.`
pub fn missing(id: &str) -> Error {
    Error::not_found(format!("Instance {id} could not be found."))
}

/// The server, if it exists and the caller may know of it.
pub async fn fetch(app: &Nova, ctx: &Context, id: &str) -> Result<Model> {
    fetch_any(app.db.read(), ctx, id, false).await
}

/// The same, deleted ones included.
pub async fn fetch_any(db: &impl ConnectionTrait, ctx: &Context, id: &str, deleted: bool) -> Result<Model> {
    let row = Entity::find_by_id(id).one(db).await?.filter(|row| deleted || !row.deleted);
    let own = |row: &Model| ctx.project_id().is_ok_and(|project| project == row.project_id);
    let row = row.filter(|row| ctx.is_service_or_admin() || own(row)).ok_or_else(|| missing(id))?;
    // the route's rule was checked against the caller's own project; here is the real one
    ctx.enforce(ctx.rule, &kit::policy::Target::project(&row.project_id).with("user_id", &row.user_id))?;
    Ok(row)
}

/// The row, for nova's own work.
pub async fn load(db: &impl ConnectionTrait, id: &str) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).filter(Column::Deleted.eq(false)).one(db).await?)
}

/// How a server stands, without the documents that make its row long.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Standing {
    pub id: String,
    pub host: Option<String>,
    pub vm_state: String,
    pub task_state: Option<String>,
    pub launched_at: Option<Timestamp>,
    pub has_fault: bool,
}

impl Standing {
    pub fn is_deleting(&self) -> bool {
        self.task_state.as_deref() == Some(TaskState::Deleting.word())
    }
}

/// That of a server that is not deleted.
pub async fn standing(db: &impl ConnectionTrait, id: &str) -> Result<Option<Standing>> {
    let columns = [Column::Id, Column::Host, Column::VmState, Column::TaskState, Column::LaunchedAt];
    let select = Entity::find_by_id(id).filter(Column::Deleted.eq(false)).select_only().columns(columns);
    Ok(select.column_as(Column::Fault.is_not_null(), "has_fault").into_model().one(db).await?)
}

/// When a change applies.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    pub vm_state: Option<String>,
    /// `Some(None)`: only while nothing is going on.
    pub task_state: Option<Option<String>>,
    pub host: Option<Option<String>>,
    /// Not once the server is being deleted.
    pub alive: bool,
    /// Only while nothing is going on, or one of these.
    pub during: Option<&'static [TaskState]>,
}

impl Guard {
    /// Only while the row is in the states it was read in.
    pub fn unchanged(row: &Model) -> Guard {
        Guard { vm_state: Some(row.vm_state.clone()), task_state: Some(row.task_state.clone()), ..Guard::default() }
    }

    pub fn alive() -> Guard {
        Guard { alive: true, ..Guard::default() }
    }

    fn condition(self) -> sea_orm::Condition {
        let mut condition = sea_orm::Condition::all().add(Column::Deleted.eq(false));
        let either = |column: Column, value: Option<String>| match value {
            Some(value) => column.eq(value),
            None => column.is_null(),
        };
        if let Some(vm_state) = self.vm_state {
            condition = condition.add(Column::VmState.eq(vm_state));
        }
        if let Some(task) = self.task_state {
            condition = condition.add(either(Column::TaskState, task));
        }
        if let Some(host) = self.host {
            condition = condition.add(either(Column::Host, host));
        }
        if let Some(tasks) = self.during {
            let ours = Column::TaskState.is_in(tasks.iter().map(|task| task.word()));
            condition = condition.add(ours.or(Column::TaskState.is_null()));
        }
        if self.alive {
            let not_deleting = Column::TaskState.ne(TaskState::Deleting.word()).or(Column::TaskState.is_null());
            condition = condition.add(not_deleting);
        }
        condition
    }
}

/// Changes a row if `guard` holds; false when it did not.
pub async fn change(tx: &impl ConnectionTrait, id: &str, guard: Guard, mut change: ActiveModel) -> Result<bool> {
    change.updated_at = Set(Timestamp::now());
    let update = Entity::update_many().set(change).filter(Column::Id.eq(id)).filter(guard.condition());
    Ok(update.exec(tx).await?.rows_affected == 1)
}

/// The same in a transaction of its own.
pub async fn save(app: &Nova, id: &str, guard: Guard, row: ActiveModel) -> Result<bool> {
    let id = id.to_owned();
    app.db.write(move |tx| Box::pin(async move { change(tx, &id, guard, row).await })).await
}

/// Sets ERROR with a fault, unless the server is being deleted.
pub fn failed(fault: rpc::conductor::Fault) -> ActiveModel {
    ActiveModel {
        vm_state: Set(VmState::Error.word().into()),
        task_state: Set(None),
        fault: Set(Some(Json(stored(fault)))),
        ..Default::default()
    }
}

/// A fault with its time.
pub fn stored(fault: rpc::conductor::Fault) -> StoredFault {
    StoredFault { code: fault.code, message: fault.message, details: fault.details, created: Timestamp::now() }
}

/// The block devices of a server, as hosts see them.
pub async fn block_devices_of(db: &impl ConnectionTrait, instance_id: &str) -> Result<Vec<BlockDevice>> {
    use block_devices::{Column, Entity};
    let rows = Entity::find().filter(Column::InstanceId.eq(instance_id)).order_by_asc(Column::Position).all(db).await?;
    Ok(rows.iter().map(block_devices::Model::to_rpc).collect())
}

/// Whether a server's root disk is a volume.
pub async fn boots_from_volume(db: &impl ConnectionTrait, instance_id: &str) -> Result<bool> {
    use block_devices::{Column, Entity};
    let root = Entity::find().filter(Column::InstanceId.eq(instance_id)).filter(Column::BootIndex.eq(0));
    Ok(root.filter(Column::DestinationType.eq("volume")).count(db).await? > 0)
}

/// The volumes of some servers: (volume, ends with the server).
pub async fn volumes_of(db: &impl ConnectionTrait, ids: &[String]) -> Result<HashMap<String, Vec<(String, bool)>>> {
    use block_devices::{Column, Entity};
    let mut volumes: HashMap<String, Vec<(String, bool)>> = HashMap::new();
    if ids.is_empty() {
        return Ok(volumes);
    }
    let rows: Vec<(String, String, bool)> = Entity::find()
        .select_only()
        .columns([Column::InstanceId, Column::VolumeId, Column::DeleteOnTermination])
        .filter(Column::InstanceId.is_in(ids.iter().map(String::as_str)))
        .filter(Column::VolumeId.is_not_null())
        .order_by_asc(Column::Position)
        .into_tuple()
        .all(db)
        .await?;
    for (instance, volume, ends) in rows {
        volumes.entry(instance).or_default().push((volume, ends));
    }
    Ok(volumes)
}

/// The next `count` numbers of a sequence; answers the last.
pub async fn next_numbers(tx: &impl ConnectionTrait, sequence: &str, count: i64) -> Result<i64> {
    let raise = "UPDATE sequences SET value = value + $1 WHERE name = $2 RETURNING value";
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), raise, [count.into(), sequence.into()]);
    match tx.query_one_raw(statement).await? {
        Some(row) => Ok(row.try_get_by_index(0)?),
        None => Err(Error::internal(format!("there is no sequence {sequence}"))),
    }
}
