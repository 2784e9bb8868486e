//! `revert`: the volume holds again what it held at its latest snapshot.

use std::time::Duration;

use http::StatusCode;
use kit::flow::{Flow, Step};
use kit::{Context, Error, Reply, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Change, Volume, store};
use crate::snapshots::{self, store as snapshot_store};
use crate::{Cinder, hosts};

const PATIENCE: Duration = Duration::from_secs(300);

pub async fn revert(app: Cinder, ctx: Context, volume: Volume, body: Value) -> Result<Reply> {
    let id = body["snapshot_id"].as_str();
    let id = id.ok_or_else(|| Error::bad_request("Invalid input for field/attribute revert. 'snapshot_id' is a required property"))?;
    let wanted = snapshots::api::find_for(&app, &ctx, id, "volume:get_snapshot").await?;
    let latest = snapshot_store::of_volume(app.db().read(), &volume.id).await?.into_iter().max_by_key(|snapshot| snapshot.created_at);
    if wanted.volume_id != volume.id || latest.is_none_or(|latest| latest.id != wanted.id) {
        return Err(Error::bad_request(format!(
            "Invalid snapshot: Specified snapshot {id} is None or not the latest one of volume {}.",
            volume.id
        )));
    }
    if volume.size != wanted.size {
        return Err(store::invalid(format!(
            "Can't revert volume {} to its latest snapshot {id}. The volume size must be equal to the snapshot size.",
            volume.id
        )));
    }
    let flow = RevertVolume { volume_id: volume.id, snapshot_id: wanted.id, host: volume.host, size: volume.size };
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                store::change_or_refuse(tx, &flow.volume_id, Change::Revert).await?;
                snapshot_store::change_or_refuse(tx, &flow.snapshot_id, snapshots::Change::Restore).await?;
                flows.insert(tx, &flow.volume_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// go_back -> announce
#[derive(Serialize, Deserialize)]
pub struct RevertVolume {
    volume_id: String,
    snapshot_id: String,
    host: Option<String>,
    size: i64,
}

impl Flow for RevertVolume {
    type App = Cinder;
    const KIND: &'static str = "revert_volume";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: go_back / fail, announce]
    }
}

impl RevertVolume {
    async fn go_back(&mut self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::RevertVolume {
            volume_id: self.volume_id.clone(),
            snapshot_id: self.snapshot_id.clone(),
            size: self.size.unsigned_abs(),
        };
        hosts::call(app, self.host.as_deref(), message, PATIENCE).await
    }

    async fn fail(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        store::turn(app, &self.volume_id, Change::RevertFailed).await?;
        snapshot_store::turn(app, &self.snapshot_id, snapshots::Change::Released).await
    }

    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        store::turn(app, &self.volume_id, Change::Reverted).await?;
        snapshot_store::turn(app, &self.snapshot_id, snapshots::Change::Released).await
    }
}
