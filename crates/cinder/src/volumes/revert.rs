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

pub async fn revert(app: Cinder, _: Context, volume: Volume, body: Value) -> Result<Reply> {
    let id = body["snapshot_id"].as_str().unwrap_or("None");
    let latest = snapshot_store::of_volume(app.db().read(), &volume.id).await?.into_iter().max_by_key(|snapshot| snapshot.created_at);
    let wanted = latest.ok_or_else(|| Error::bad_request(format!("Volume {} doesn't have any snapshots.", volume.id)))?;
    if wanted.id != id {
        return Err(Error::bad_request(format!("Specified snapshot {id} is None or not the latest one of volume {}.", volume.id)));
    }
    let sentence = format!("Can't revert volume {} to its latest snapshot {id}.", volume.id);
    if volume.size != wanted.size {
        return Err(Error::bad_request(format!("{sentence} The volume size must be equal to the snapshot size.")));
    }
    let flow = RevertVolume { volume_id: volume.id, snapshot_id: wanted.id, host: volume.host, size: volume.size };
    let flows = app.flows()?.clone();
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                if !store::change(tx, &flow.volume_id, Change::Revert).await? {
                    return Err(Error::conflict(format!("Invalid volume: {sentence} Volume's status must be 'available'.")));
                }
                if !snapshot_store::change(tx, &flow.snapshot_id, snapshots::Change::Restore).await? {
                    return Err(Error::conflict(format!("Invalid snapshot: {sentence} Snapshot's status must be 'available'.")));
                }
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
            volume_id: store::data_id(app, &self.volume_id).await?,
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
