//! Volumes and ports that a server was to be given by a process that died before its promise was in the journal: what nobody works on is let go
//! of, and the action ends as failed.

use std::time::Duration;

use kit::Result;
use kit::clock::Timestamp;
use sea_orm::QuerySelect;
use sea_orm::entity::prelude::*;

use super::neighbours;
use crate::Nova;
use crate::instance_actions::{self, Column, Entity, Model};
use crate::servers::block_devices;
use crate::servers::states::rules::{INTERFACES, VOLUMES};
use crate::servers::store;

/// Ended in one turn.
const SOME: u64 = 100;
/// A row may be a little older than the action it was written with.
const SLACK: Duration = Duration::from_secs(1);

/// Ends such actions that are older than a stuck task may be.
pub async fn let_go(app: &Nova) -> Result<()> {
    let before = Timestamp::now().minus(app.config.stuck_after);
    let open = Entity::find()
        .filter(Column::Action.is_in([VOLUMES.record, INTERFACES.record]))
        .filter(Column::FinishedAt.is_null())
        .filter(Column::StartedAt.lt(before))
        .limit(SOME);
    for action in open.all(app.db.read()).await? {
        if app.flows()?.busy(&action.instance_id).await? {
            continue;
        }
        tracing::warn!(instance = action.instance_id, action = action.action, "nobody works on this action; ending it");
        if action.action == VOLUMES.record {
            let_go_of_volumes(app, &action).await?;
        } else if let Some(server) = store::load(app.db.read(), &action.instance_id).await? {
            neighbours::free_unplugged(app, &server).await?;
        }
        app.db
            .write(move |tx| Box::pin(async move { instance_actions::end(tx, &action.instance_id, &action.request_id, true).await }))
            .await?;
    }
    Ok(())
}

/// Those reserved since the action began that no host ever had.
async fn let_go_of_volumes(app: &Nova, action: &Model) -> Result<()> {
    let rows = block_devices::Entity::find()
        .filter(block_devices::Column::InstanceId.eq(&action.instance_id))
        .filter(block_devices::Column::CreatedAt.gte(action.started_at.minus(SLACK)))
        .filter(block_devices::Column::AttachmentId.is_not_null())
        .filter(block_devices::Column::ConnectionInfo.is_null());
    for row in rows.all(app.db.read()).await? {
        if let Some(attachment) = &row.attachment_id {
            sdk::found(app.cloud.volume.delete_attachment(&app.session.auth("").await?, attachment).await)?;
        }
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    block_devices::Entity::delete_by_id(row.id).exec(tx).await?;
                    Ok(())
                })
            })
            .await?;
    }
    Ok(())
}
