//! What happens by itself when its time has come: resizes are confirmed, shelved servers leave their hosts, deleted servers go for good, and what is
//! known of them goes out of the way. Each only where the operator has set a time.

use std::time::Duration;

use kit::clock::Timestamp;
use kit::flow::Flow;
use kit::{Result, ids};
use rpc::Caller;
use sea_orm::entity::prelude::*;
use sea_orm::{QuerySelect, Set};

use super::delete::Delete;
use super::resized::Confirm;
use super::shelve::Offload;
use crate::migrations::{self, MIGRATION, RESIZE};
use crate::servers::instance::{ActiveModel, Column, Entity, Model};
use crate::servers::states::{TaskState, VmState};
use crate::servers::store::{self, Guard};
use crate::{Nova, archive};

/// Servers looked at in one turn.
const SOME: u64 = 500;
/// Deleted servers moved or removed in one turn.
const ARCHIVED: u64 = 5000;

/// Confirms resizes that nobody confirmed or reverted in time.
pub async fn confirm_resizes(app: &Nova) -> Result<()> {
    let window = app.config.resize_confirm_window;
    if window.is_zero() {
        return Ok(());
    }
    let due = migrations::Entity::find()
        .filter(migrations::Column::Status.eq("finished"))
        .filter(migrations::Column::MigrationType.is_in([RESIZE, MIGRATION]))
        .filter(migrations::Column::UpdatedAt.lt(Timestamp::now().minus(window)));
    for migration in due.limit(SOME).all(app.db.read()).await? {
        let Some(server) = store::load(app.db.read(), &migration.instance_id).await? else { continue };
        let flow = Confirm::new(caller(&server), &migration);
        begin(app, &server, VmState::Resized, TaskState::ResizeConfirming, flow).await?;
    }
    Ok(())
}

/// Takes shelved servers off their hosts.
pub async fn offload_shelved(app: &Nova) -> Result<()> {
    let Some(time) = app.config.shelved_offload_time.filter(|time| !time.is_zero()) else { return Ok(()) };
    let before = Timestamp::now().minus(time);
    for server in in_state(app, VmState::Shelved, Duration::ZERO).await? {
        if server.shelved.as_ref().is_some_and(|shelved| shelved.0.at < before) {
            let flow = Offload::new(caller(&server), &server.id);
            begin(app, &server, VmState::Shelved, TaskState::ShelvingOffloading, flow).await?;
        }
    }
    Ok(())
}

/// Deletes what was deleted long enough ago.
pub async fn reclaim_deleted(app: &Nova) -> Result<()> {
    let interval = app.config.reclaim_instance_interval;
    if interval.is_zero() {
        return Ok(());
    }
    for server in in_state(app, VmState::SoftDeleted, interval).await? {
        let flow = Delete::new(caller(&server), &server.id);
        begin(app, &server, VmState::SoftDeleted, TaskState::Deleting, flow).await?;
    }
    Ok(())
}

/// Moves servers that were deleted long enough ago out of the way, and removes for good what was there long enough.
pub async fn archive_deleted(app: &Nova) -> Result<()> {
    if let Some(time) = app.config.archive_deleted_after {
        archive::archive(&app.db, Timestamp::now().minus(time), ARCHIVED).await?;
    }
    if let Some(time) = app.config.purge_archived_after {
        archive::purge(&app.db, Some(Timestamp::now().minus(time)), ARCHIVED).await?;
    }
    Ok(())
}

async fn in_state(app: &Nova, state: VmState, since: Duration) -> Result<Vec<Model>> {
    let all = Entity::find().filter(Column::Deleted.eq(false)).filter(Column::VmState.eq(state.word())).filter(Column::TaskState.is_null());
    Ok(all.filter(Column::UpdatedAt.lt(Timestamp::now().minus(since))).limit(SOME).all(app.db.read()).await?)
}

/// Begins what is due, unless somebody does something with the server just now.
async fn begin<F: Flow<App = Nova>>(app: &Nova, server: &Model, state: VmState, task: TaskState, flow: F) -> Result<()> {
    let guard = Guard { vm_state: Some(state.word().into()), task_state: Some(None), ..Guard::default() };
    let change = ActiveModel { task_state: Set(Some(task.word().into())), ..Default::default() };
    let (nova, id) = (app.clone(), server.id.clone());
    let flow = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                if !store::change(tx, &id, guard, change).await? {
                    return Ok(None);
                }
                nova.flows()?.insert(tx, &id, &flow).await.map(Some)
            })
        })
        .await?;
    if let Some(flow) = flow {
        app.flows()?.start(&flow);
    }
    Ok(())
}

/// Nova itself, in the name of the server's owner.
fn caller(server: &Model) -> Caller {
    Caller { request_id: ids::request(), user_id: server.user_id.clone(), project_id: server.project_id.clone(), token: String::new() }
}
