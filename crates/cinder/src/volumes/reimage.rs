//! `os-reimage`: the volume holds an image instead of what it held.

use std::time::Duration;

use http::StatusCode;
use kit::flow::{Flow, Step};
use kit::policy::Target;
use kit::{Context, Error, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::store::{self, Kind};
use super::{ActiveModel, Change, Column, Entity, Volume, build, metadata, source};
use crate::body::truth;
use crate::messages::{self, Action, cause};
use crate::{Cinder, attachments, hosts};

const PATIENCE: Duration = Duration::from_secs(3600);

pub async fn reimage(app: Cinder, ctx: Context, volume: Volume, body: Value) -> Result<Reply> {
    let image_id = body["image_id"].as_str().and_then(kit::ids::parse_uuid);
    let image_id = image_id.ok_or_else(|| Error::bad_request("Invalid input for field/attribute image_id. It is not a UUID."))?;
    let reserved = truth(&body["reimage_reserved"]) == Some(true);
    if reserved {
        ctx.enforce("volume:reimage_reserved", &Target::project(&volume.project_id))?;
    }
    if attachments::store::of_volume(app.db().read(), &volume.id).await?.len() > 1 {
        return Err(Error::conflict("Cannot re-image a volume which is attached to more than one server."));
    }
    let least = source::image_size(&app, &ctx, &image_id).await?;
    if volume.size < least {
        return Err(store::invalid(format!("Volume size {}GB cannot be smaller than what the image needs, {least}GB.", volume.size)));
    }
    let change = if reserved { Change::ReimageReserved } else { Change::Reimage };
    let flows = app.flows()?.clone();
    let flow = ReimageVolume { caller: ctx.caller(), volume_id: volume.id.clone(), host: volume.host, image_id, size: volume.size };
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                store::change_or_refuse(tx, &flow.volume_id, change).await?;
                flows.insert(tx, &flow.volume_id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// fill -> announce
#[derive(Serialize, Deserialize)]
pub struct ReimageVolume {
    caller: rpc::Caller,
    volume_id: String,
    host: Option<String>,
    image_id: String,
    size: i64,
}

impl Flow for ReimageVolume {
    type App = Cinder;
    const KIND: &'static str = "reimage_volume";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: fill / fail, announce]
    }
}

impl ReimageVolume {
    async fn fill(&mut self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::ReimageVolume {
            caller: self.caller.clone(),
            volume_id: store::data_id(app, &self.volume_id).await?,
            image_id: self.image_id.clone(),
            size: self.size.unsigned_abs(),
        };
        let filled = hosts::call(app, self.host.as_deref(), message, PATIENCE).await?;
        metadata::write(app, &self.volume_id, Kind::Image, build::image_pairs(&filled.image_metadata), true).await
    }

    async fn fail(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        messages::tell(app, &self.caller, Action::Reimage, &self.volume_id, error).await;
        store::turn(app, &self.volume_id, Change::CreateFailed).await
    }

    /// Whoever has reserved the volume meanwhile still has it, and nova is told that it may go on.
    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        let id = self.volume_id.clone();
        app.db()
            .write(move |tx| {
                Box::pin(async move {
                    let row = ActiveModel { bootable: Set(true), ..Default::default() };
                    Entity::update_many().set(row).filter(Column::Id.eq(&id)).exec(tx).await?;
                    store::finish(tx, &id, Change::Created).await
                })
            })
            .await?;
        let failed = (Action::Reimage, cause::REIMAGE_VOLUME_FAILED);
        super::events::tell(app, &self.caller, &self.volume_id, ("volume-reimaged", &self.image_id), failed).await;
        Ok(())
    }
}
