//! Growing a volume, also one in use: then nova learns of it, and the guest sees the new size.

use std::time::Duration;

use http::StatusCode;
use kit::flow::{Flow, Step};
use kit::policy::Target;
use kit::{Context, Error, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ActiveModel, Change, Column, Entity, Status, Volume, store};
use crate::messages::{self, Action, cause};
use crate::microversions::EXTEND_IN_USE;
use crate::scheduler::{self, Wish};
use crate::{Cinder, hosts, quotas, services, types};

const PATIENCE: Duration = Duration::from_secs(300);

/// `os-extend`
pub async fn extend(app: Cinder, ctx: Context, volume: Volume, body: Value) -> Result<Reply> {
    let wanted = &body["new_size"];
    let size = wanted.as_i64().or_else(|| wanted.as_str().and_then(|text| text.parse().ok()));
    let size = size.filter(|size| *size > 0).ok_or_else(|| {
        Error::bad_request(format!("Invalid input for field/attribute new_size. Value: {wanted}. {wanted} is not of type 'integer'"))
    })?;
    if volume.status == Status::InUse && ctx.speaks(EXTEND_IN_USE) {
        ctx.enforce("volume:extend_attached_volume", &Target::project(&volume.project_id))?;
    }
    types::store::fetch(app.db().read(), &volume.type_id).await?.check_size(size)?;
    let change = if ctx.speaks(EXTEND_IN_USE) { Change::ExtendInUse } else { Change::Extend };
    let (flows, caller) = (app.flows()?.clone(), ctx.caller());
    let flow_id = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let volume = store::lock(tx, &volume.id).await?;
                if size <= volume.size {
                    let sentence = "New size for extend must be greater than current size.";
                    return Err(Error::bad_request(format!(
                        "Invalid input received: {sentence} (current: {}, extended: {size}).",
                        volume.size
                    )));
                }
                if !store::change(tx, &volume.id, change).await? {
                    return Err(store::invalid(format!(
                        "Volume {} status must be '{}' to extend, currently {}.",
                        volume.id,
                        expected(change),
                        volume.status.text()
                    )));
                }
                let types = types::store::names(tx).await?;
                let type_name = types.get(&volume.type_id).cloned().unwrap_or_default();
                quotas::store::check_volume_size(tx, &volume.project_id, size).await?;
                quotas::store::charge(tx, &volume.project_id, &quotas::gigabytes(size - volume.size, &type_name)).await?;
                let flow = ExtendVolume {
                    caller,
                    volume_id: volume.id.clone(),
                    project_id: volume.project_id,
                    type_name,
                    host: volume.host,
                    old_size: volume.size,
                    new_size: size,
                    was_in_use: volume.status == Status::InUse,
                };
                flows.insert(tx, &volume.id, &flow).await
            })
        })
        .await?;
    app.flows()?.start(&flow_id);
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

fn expected(change: Change) -> String {
    change.rule().0.iter().map(|status| status.text()).collect::<Vec<_>>().join(" or ")
}

/// `os-extend_volume_completion`: for storages whose volumes grow only when the guest's host has done its part. Those of ours grow at once,
/// so that no extension ever waits for this.
pub async fn complete(_: Cinder, _: Context, volume: Volume, body: Value) -> Result<Reply> {
    if crate::body::truth(&body["error"]).is_none() && !body["error"].is_null() {
        return Err(Error::bad_request("Invalid input for field/attribute error. It is not a boolean."));
    }
    Err(store::invalid(format!("Volume {} does not wait for the end of its extension: its status is {}.", volume.id, volume.status.text())))
}

/// schedule -> grow -> announce -> tell
#[derive(Serialize, Deserialize)]
pub struct ExtendVolume {
    #[serde(default)]
    caller: rpc::Caller,
    volume_id: String,
    project_id: String,
    type_name: String,
    host: Option<String>,
    old_size: i64,
    new_size: i64,
    was_in_use: bool,
}

impl Flow for ExtendVolume {
    type App = Cinder;
    const KIND: &'static str = "extend_volume";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: schedule / put_back, grow / fail, announce, tell]
    }
}

impl ExtendVolume {
    /// Asks whether the host has room for what is new, as it was asked when the volume was made.
    async fn schedule(&mut self, app: &Cinder) -> Result<()> {
        let db = app.db().read();
        let volume = store::fetch(db, &self.volume_id).await?;
        let kind = types::store::fetch(db, &volume.type_id).await?;
        let wish =
            Wish { size: self.old_size, zone: &volume.availability_zone, extra_specs: &kind.extra_specs.0, together: &[], apart: &[] };
        let promised = store::promised(db).await?;
        let promised = self.host.as_ref().and_then(|host| promised.get(host).copied()).unwrap_or_default();
        let hosts = services::store::volume_hosts(db).await?;
        scheduler::check_growth(&hosts, self.host.as_deref(), promised, &wish, self.new_size - self.old_size)
    }

    /// A volume for which there is no room is what it was.
    async fn put_back(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        if self.end(app, Change::Extended).await? {
            messages::tell(app, &self.caller, Action::ExtendVolume, &self.volume_id, error).await;
        }
        Ok(())
    }

    async fn grow(&mut self, app: &Cinder) -> Result<()> {
        let message =
            rpc::volume::ExtendVolume { volume_id: store::data_id(app, &self.volume_id).await?, new_size: self.new_size.unsigned_abs() };
        hosts::call(app, self.host.as_deref(), message, PATIENCE).await
    }

    async fn fail(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        if self.end(app, Change::ExtendFailed).await? {
            messages::tell(app, &self.caller, Action::ExtendVolume, &self.volume_id, error).await;
        }
        Ok(())
    }

    /// The quota comes back with the change of the status, so once; true when it did.
    async fn end(&self, app: &Cinder, change: Change) -> Result<bool> {
        let (id, project) = (self.volume_id.clone(), self.project_id.clone());
        let charges = quotas::gigabytes(self.new_size - self.old_size, &self.type_name);
        app.db()
            .write(move |tx| {
                Box::pin(async move {
                    if !store::change(tx, &id, change).await? {
                        return Ok(false);
                    }
                    store::follow_attachments(tx, &store::fetch(tx, &id).await?).await?;
                    quotas::store::release(tx, &project, &charges).await?;
                    Ok(true)
                })
            })
            .await
    }

    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        let (id, size) = (self.volume_id.clone(), self.new_size);
        app.db()
            .write(move |tx| {
                Box::pin(async move {
                    let row = ActiveModel { size: Set(size), ..Default::default() };
                    let extending = Entity::update_many().set(row).filter(Column::Id.eq(&id)).filter(Column::Status.eq(Status::Extending));
                    extending.exec(tx).await?;
                    store::finish(tx, &id, Change::Extended).await
                })
            })
            .await
    }

    /// Tells nova, which lets the guest see it.
    async fn tell(&mut self, app: &Cinder) -> Result<()> {
        if self.was_in_use {
            let failed = (Action::ExtendVolume, cause::NOTIFY_COMPUTE_SERVICE_FAILED);
            super::events::tell(app, &self.caller, &self.volume_id, ("volume-extended", &self.volume_id), failed).await;
        }
        Ok(())
    }
}
