//! `os-reset_status`: a volume is whatever an administrator says it is. One that is said to be detached has no attachments any more, and
//! its host is told so.

use http::StatusCode;
use kit::clock::Timestamp;
use kit::{Context, Error, Reply, Result};
use rpc::volume::TerminateConnection;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde_json::Value;

use super::migrate::status::Migration;
use super::{ActiveModel, AttachStatus, Column, Entity, Status, Volume};
use crate::attachments::{self, Attachment};
use crate::{Cinder, hosts};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
/// That a volume never moved.
const NEVER: &str = "none";

pub async fn reset_status(app: Cinder, _: Context, volume: Volume, body: Value) -> Result<Reply> {
    let mut row = ActiveModel { updated_at: Set(Some(Timestamp::now())), ..Default::default() };
    let (status, attach, migration) = (given(&body, "status")?, given(&body, "attach_status")?, given(&body, "migration_status")?);
    if [status, attach, migration].iter().all(Option::is_none) {
        return Err(Error::bad_request("Must specify 'status', 'attach_status' or 'migration_status' for update."));
    }
    if let Some(status) = status {
        let wanted = Status::parse(&status.to_lowercase()).ok_or_else(|| invalid("status", status))?;
        refuse_untrue(&app, &volume, wanted).await?;
        row.status = Set(wanted);
    }
    let attach = match attach {
        Some(status) => Some(AttachStatus::parse(&status.to_lowercase()).ok_or_else(|| invalid("attach_status", status))?),
        None => None,
    };
    if let Some(status) = attach {
        row.attach_status = Set(status);
    }
    if let Some(status) = migration {
        let known = Migration::parse(status);
        if known.is_none() && !status.eq_ignore_ascii_case(NEVER) {
            return Err(invalid("migration_status", status));
        }
        row.migration_status = Set(known.map(|known| known.text().to_owned()));
    }
    let detached = attach == Some(AttachStatus::Detached);
    let id = volume.id.clone();
    let ended = app
        .db()
        .write(move |tx| {
            Box::pin(async move {
                let ended = if detached { attachments::store::of_volume(tx, &id).await? } else { Vec::new() };
                for attachment in &ended {
                    attachments::Entity::delete_by_id(&attachment.id).exec(tx).await?;
                }
                Entity::update_many().set(row).filter(Column::Id.eq(&id)).exec(tx).await?;
                Ok(ended)
            })
        })
        .await?;
    tokio::spawn(tell_host(app, volume, ended));
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// Two things are not so because somebody says so: a deletion, and a use by nobody.
async fn refuse_untrue(app: &Cinder, volume: &Volume, wanted: Status) -> Result<()> {
    if wanted == Status::Deleting {
        return Err(Error::bad_request("Cannot reset-state to deleting"));
    }
    if wanted == Status::InUse && attachments::store::of_volume(app.db().read(), &volume.id).await?.is_empty() {
        return Err(Error::bad_request("Cannot reset-state to in-use because volume does not have any attachments."));
    }
    Ok(())
}

/// A host that cannot be told now asks at its next start.
async fn tell_host(app: Cinder, volume: Volume, ended: Vec<Attachment>) {
    for attachment in ended.into_iter().filter(|attachment| attachment.connector.is_some()) {
        let message = TerminateConnection { volume_id: volume.data_id().to_owned(), attachment_id: attachment.id };
        if let Err(error) = hosts::call(&app, volume.host.as_deref(), message, PATIENCE).await {
            tracing::warn!(volume = volume.id, %error, "an export of a volume that is said to be detached goes on");
        }
    }
}

fn given<'a>(body: &'a Value, key: &str) -> Result<Option<&'a str>> {
    match &body[key] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        other => Err(invalid(key, &other.to_string())),
    }
}

fn invalid(what: &str, text: &str) -> Error {
    Error::bad_request(format!("Invalid input for field/attribute {what}. Value: {text}. '{text}' is not one of its values."))
}
