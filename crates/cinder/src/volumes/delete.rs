//! Deleting a volume: refused while anything holds it, then a flow.

use std::time::Duration;

use http::StatusCode;
use kit::flow::{Flow, Step};
use kit::{Context, Error, Path, Query, Reply, Result};
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};

use super::{AttachStatus, Change, Status, Volume, api, migrate, store};
use crate::microversions::FORCE_DELETE;
use crate::{Cinder, attachments, hosts, quotas, snapshots, types};

const PATIENCE: Duration = Duration::from_secs(300);

pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let volume = api::find(&app, &ctx, &id).await?;
    let force = ctx.speaks(FORCE_DELETE) && query.flag("force");
    if force {
        api::find_for(&app, &ctx, &id, "volume:force_delete").await?;
    }
    ask(&app, volume, force, query.flag("cascade")).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// Deletes a volume that somebody asks to be deleted: those of a group go with it only.
pub async fn ask(app: &Cinder, volume: Volume, force: bool, cascade: bool) -> Result<()> {
    match volume.group_id {
        Some(_) => Err(refusal(force)),
        None => promise(app, volume, force, cascade).await,
    }
}

/// Marks the volume and begins the flow.
pub async fn promise(app: &Cinder, volume: Volume, force: bool, cascade: bool) -> Result<()> {
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let volume = store::lock(tx, &volume.id).await?;
                let uses = attachments::store::of_volume(tx, &volume.id).await?;
                // what is only reserved can be forced away, what a guest writes to cannot
                let held = uses.iter().any(|attachment| !force || attachment.status == AttachStatus::Attached);
                let snapshots = snapshots::store::of_volume(tx, &volume.id).await?;
                let kept = snapshots.iter().any(|snapshot| !cascade || !snapshot.status.is_settled());
                let change = if force { Change::ForceDelete } else { Change::Delete };
                if migrate::is_migrating(&volume)
                    || migrate::is_target(&volume)
                    || held
                    || kept
                    || !store::change(tx, &volume.id, change).await?
                {
                    return Err(refusal(force));
                }
                if volume.host.is_none() && volume.status == Status::Error {
                    // it never came to a host
                    return forget(tx, &volume.id).await.map(|()| None);
                }
                let attachments = uses.into_iter().map(|attachment| attachment.id).collect();
                let flow = DeleteVolume { volume_id: volume.id.clone(), host: volume.host, attachments };
                flows.insert(tx, &volume.id, &flow).await.map(Some)
            })
        })
        .await?;
    if let Some(flow_id) = flow_id {
        app.flows()?.start(&flow_id);
    }
    Ok(())
}

fn refusal(force: bool) -> Error {
    let allowed: Vec<String> = Change::Delete.rule().0.iter().map(|status| status.text()).collect();
    let status = if force { String::new() } else { format!("status must be {} and ", allowed.join(" or ")) };
    let sentence = "must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, \
                    or be disassociated from snapshots after volume transfer.";
    store::invalid(format!("Volume {status}{sentence}"))
}

/// destroy -> forget
#[derive(Serialize, Deserialize)]
pub struct DeleteVolume {
    volume_id: String,
    host: Option<String>,
    /// Only when forced.
    attachments: Vec<String>,
}

impl Flow for DeleteVolume {
    type App = Cinder;
    const KIND: &'static str = "delete_volume";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: destroy / fail, forget]
    }
}

impl DeleteVolume {
    async fn destroy(&mut self, app: &Cinder) -> Result<()> {
        // one that was never scheduled is nowhere
        let Some(host) = self.host.as_deref() else { return Ok(()) };
        for attachment_id in self.attachments.clone() {
            let message = rpc::volume::TerminateConnection { volume_id: store::data_id(app, &self.volume_id).await?, attachment_id };
            hosts::call(app, Some(host), message, PATIENCE).await?;
        }
        hosts::call(app, Some(host), rpc::volume::DeleteVolume { volume_id: store::data_id(app, &self.volume_id).await? }, PATIENCE).await
    }

    async fn fail(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        store::turn(app, &self.volume_id, Change::DeleteFailed).await
    }

    async fn forget(&mut self, app: &Cinder) -> Result<()> {
        let id = self.volume_id.clone();
        app.db().write(move |tx| Box::pin(async move { forget(tx, &id).await })).await
    }
}

/// The row goes, and with it the quota it took: once, however often this runs.
async fn forget(tx: &impl ConnectionTrait, id: &str) -> Result<()> {
    let Some(volume) = store::find(tx, id).await? else { return Ok(()) };
    let type_name = types::store::name(tx, &volume.type_id).await?;
    for snapshot in snapshots::store::of_volume(tx, id).await? {
        snapshots::store::remove(tx, &snapshot, &type_name).await?;
    }
    if store::remove(tx, id).await? {
        quotas::store::release(tx, &volume.project_id, &quotas::volume(volume.size, &type_name)).await?;
    }
    Ok(())
}
