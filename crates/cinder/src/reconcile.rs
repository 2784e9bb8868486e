//! Repairs: what says that it is in the middle of something, and no flow is, comes to an end; messages whose time is over go, and so do keys of images
//! that are gone.

use std::time::Duration;

use kit::Result;
use kit::clock::Timestamp;
use rpc::volume::DeleteVolume;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveEnum, ColumnTrait, Condition, EntityTrait, Iterable, QueryFilter};

use crate::volumes::Volume;
use crate::volumes::migrate::status::{self, Migration};
use crate::volumes::migrate::{TARGET, is_target};
use crate::{Cinder, backups, group_snapshots, groups, hosts, keys, messages, snapshots, volumes};

/// How often somebody looks.
pub const PERIOD: Duration = Duration::from_secs(60);
/// How long a host may take to remove what was left over.
const PATIENCE: Duration = Duration::from_secs(60);
/// What changed more recently may be between a status and its flow.
const YOUNG: Duration = Duration::from_secs(120);

/// One round.
pub async fn run(app: &Cinder) -> Result<()> {
    stuck(app).await?;
    keys::forget_of_gone_images(app).await?;
    messages::forget_expired(app).await
}

/// Ends what nobody is working on.
pub async fn stuck(app: &Cinder) -> Result<()> {
    let before = Timestamp::now().minus(YOUNG);
    stuck_volumes(app, before).await?;
    stuck_migrations(app, before).await?;
    stuck_snapshots(app, before).await?;
    stuck_backups(app, before).await?;
    stuck_groups(app, before).await
}

/// What says that it moves, and does not, stays; what was made for the move of a volume that does not move goes.
async fn stuck_migrations(app: &Cinder, before: Timestamp) -> Result<()> {
    let db = app.db().read();
    let moving =
        volumes::Column::MigrationStatus.is_in(Migration::ALL.into_iter().filter(|status| status.is_under_way()).map(Migration::text));
    let made_for_it = volumes::Column::MigrationStatus.like(format!("{TARGET}%"));
    let old = old(volumes::Column::UpdatedAt, volumes::Column::CreatedAt, before);
    for volume in volumes::Entity::find().filter(moving.or(made_for_it)).filter(old).all(db).await? {
        let moved = volume.migration_status.as_deref().and_then(|status| status.strip_prefix(TARGET)).map(str::to_owned);
        if app.flows()?.busy(moved.as_ref().unwrap_or(&volume.id)).await? {
            continue;
        }
        tracing::warn!(volume = volume.id, was = volume.migration_status, "nobody was moving it");
        if moved.is_none() {
            app.db().write(move |tx| Box::pin(async move { status::fail(tx, &volume.id).await })).await?;
        } else if let Err(error) = remove_target(app, volume.clone()).await {
            tracing::warn!(volume = volume.id, %error, "it cannot be removed now");
        }
    }
    Ok(())
}

async fn remove_target(app: &Cinder, volume: Volume) -> Result<()> {
    let message = DeleteVolume { volume_id: volume.data_id().to_owned() };
    hosts::call(app, volume.host.as_deref(), message, PATIENCE).await?;
    app.db().write(move |tx| Box::pin(async move { volumes::store::remove(tx, &volume.id).await.map(drop) })).await
}

async fn stuck_volumes(app: &Cinder, before: Timestamp) -> Result<()> {
    let busy = volumes::Status::iter().filter(|status| status.without_flow().is_some());
    let old = old(volumes::Column::UpdatedAt, volumes::Column::CreatedAt, before);
    for volume in volumes::Entity::find().filter(volumes::Column::Status.is_in(busy)).filter(old).all(app.db().read()).await? {
        let backed_up = backups::Entity::find()
            .filter(backups::Column::VolumeId.eq(&volume.id))
            .filter(backups::Column::Status.eq(backups::Status::Creating));
        let worked_on = is_target(&volume) || app.flows()?.busy(&volume.id).await? || backed_up.one(app.db().read()).await?.is_some();
        if let (false, Some(status)) = (worked_on, volume.status.without_flow()) {
            tracing::warn!(volume = volume.id, was = volume.status.text(), is = status.text(), "nobody was working on it");
            let was = volume.status;
            app.db()
                .write(move |tx| {
                    Box::pin(async move {
                        volumes::Entity::update_many()
                            .filter(volumes::Column::Id.eq(&volume.id))
                            .filter(volumes::Column::Status.eq(was))
                            .col_expr(volumes::Column::Status, Expr::value(status.to_value()))
                            .exec(tx)
                            .await?;
                        let volume = volumes::store::fetch(tx, &volume.id).await?;
                        volumes::store::follow_attachments(tx, &volume).await
                    })
                })
                .await?;
        }
    }
    Ok(())
}

async fn stuck_snapshots(app: &Cinder, before: Timestamp) -> Result<()> {
    let busy = snapshots::Status::iter().filter(|status| status.without_flow().is_some());
    let old = old(snapshots::Column::UpdatedAt, snapshots::Column::CreatedAt, before);
    for snapshot in snapshots::Entity::find().filter(snapshots::Column::Status.is_in(busy)).filter(old).all(app.db().read()).await? {
        let backed_up = backups::Entity::find()
            .filter(backups::Column::SnapshotId.eq(&snapshot.id))
            .filter(backups::Column::Status.eq(backups::Status::Creating));
        let flows = app.flows()?;
        let worked_on =
            flows.busy(&snapshot.id).await? || flows.busy(&snapshot.volume_id).await? || backed_up.one(app.db().read()).await?.is_some();
        if let (false, Some(status)) = (worked_on, snapshot.status.without_flow()) {
            tracing::warn!(snapshot = snapshot.id, was = snapshot.status.text(), is = status.text(), "nobody was working on it");
            let row = snapshots::ActiveModel { status: sea_orm::Set(status), ..Default::default() };
            snapshots::store::update(app, &snapshot.id, row).await?;
        }
    }
    Ok(())
}

async fn stuck_backups(app: &Cinder, before: Timestamp) -> Result<()> {
    let busy = [backups::Status::Creating, backups::Status::Deleting];
    let old = old(backups::Column::UpdatedAt, backups::Column::CreatedAt, before);
    for backup in backups::Entity::find().filter(backups::Column::Status.is_in(busy)).filter(old).all(app.db().read()).await? {
        if let (false, Some(status)) = (app.flows()?.busy(&backup.id).await?, backup.status.without_flow()) {
            tracing::warn!(backup = backup.id, was = backup.status.text(), is = status.text(), "nobody was working on it");
            let row = backups::ActiveModel { status: sea_orm::Set(status), ..Default::default() };
            backups::store::update(app, &backup.id, row).await?;
        }
    }
    released_backups(app, before).await
}

/// One that is read by a restoration is looked after when the volume is that is restored.
async fn released_backups(app: &Cinder, before: Timestamp) -> Result<()> {
    let db = app.db().read();
    let restored = volumes::Entity::find().filter(volumes::Column::Status.eq(volumes::Status::RestoringBackup));
    if restored.one(db).await?.is_some() {
        return Ok(());
    }
    let old = old(backups::Column::UpdatedAt, backups::Column::CreatedAt, before);
    let read = backups::Column::Status.eq(backups::Status::Restoring);
    for backup in backups::Entity::find().filter(read).filter(old).all(db).await? {
        tracing::warn!(backup = backup.id, "nobody was restoring it");
        backups::store::turn(app, &backup.id, backups::Change::Restored).await?;
    }
    Ok(())
}

async fn stuck_groups(app: &Cinder, before: Timestamp) -> Result<()> {
    let db = app.db().read();
    let busy = || groups::Status::iter().filter(|status| status.without_flow().is_some());
    let old_groups = old(groups::Column::UpdatedAt, groups::Column::CreatedAt, before);
    for group in groups::Entity::find().filter(groups::Column::Status.is_in(busy())).filter(old_groups).all(db).await? {
        if let (false, Some(status)) = (app.flows()?.busy(&group.id).await?, group.status.without_flow()) {
            tracing::warn!(group = group.id, was = group.status.text(), is = status.text(), "nobody was working on it");
            groups::store::turn(app, &group.id, group.status, status).await?;
        }
    }
    let old_ones = old(group_snapshots::Column::UpdatedAt, group_snapshots::Column::CreatedAt, before);
    let stuck = group_snapshots::Entity::find().filter(group_snapshots::Column::Status.is_in(busy()));
    for snapshot in stuck.filter(old_ones).all(db).await? {
        if let (false, Some(status)) = (app.flows()?.busy(&snapshot.id).await?, snapshot.status.without_flow()) {
            tracing::warn!(group_snapshot = snapshot.id, was = snapshot.status.text(), is = status.text(), "nobody was working on it");
            group_snapshots::store::turn(app, &snapshot.id, snapshot.status, status).await?;
        }
    }
    Ok(())
}

/// Last changed, or made if never changed, before a moment.
fn old(updated: impl ColumnTrait, created: impl ColumnTrait, before: Timestamp) -> Condition {
    let never = updated.is_null().and(created.lt(before));
    Condition::any().add(updated.lt(before)).add(never)
}
