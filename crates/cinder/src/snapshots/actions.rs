//! `POST /snapshots/{id}/action`: what administrators and hosts can do to a snapshot.

use http::StatusCode;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use serde_json::Value;

use super::{ActiveModel, Change, Snapshot, Status, api, store};
use crate::Cinder;
use crate::body::no_such_action;
use crate::manageable::snapshots as manageable;

pub async fn act(app: Cinder, ctx: Context, Path(id): Path<String>, Json(request): Json<Value>) -> Result<Reply> {
    let mut keys = request.as_object().into_iter().flatten();
    let (Some((key, body)), None) = (keys.next(), keys.next()) else {
        return Err(Error::bad_request(
            "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        ));
    };
    let rule = match key.as_str() {
        "os-reset_status" => "volume_extension:snapshot_admin_actions:reset_status",
        "os-force_delete" => "volume_extension:snapshot_admin_actions:force_delete",
        "os-update_snapshot_status" => "snapshot_extension:snapshot_actions:update_snapshot_status",
        "os-unmanage" => "snapshot_extension:snapshot_unmanage",
        _ => return Err(no_such_action(&request)),
    };
    let snapshot = api::find_for(&app, &ctx, &id, rule).await?;
    match key.as_str() {
        "os-reset_status" => reset_status(app, snapshot, body).await,
        "os-force_delete" => api::promise_removal(app, Some(ctx.caller()), snapshot, Change::ForceDelete).await,
        "os-unmanage" => manageable::unmanage(app, snapshot).await,
        _ => update_status(app, snapshot, body).await,
    }
}

/// Whatever an administrator says it is.
async fn reset_status(app: Cinder, snapshot: Snapshot, body: &Value) -> Result<Reply> {
    let status = body["status"].as_str().and_then(Status::parse);
    let status = status.ok_or_else(|| Error::bad_request("Invalid input for field/attribute status. It is no status of a snapshot."))?;
    store::update(&app, &snapshot.id, ActiveModel { status: Set(status), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// What a host has made of a snapshot that it took by itself.
async fn update_status(app: Cinder, snapshot: Snapshot, body: &Value) -> Result<Reply> {
    let status = body["status"].as_str().and_then(Status::parse);
    let status = status.ok_or_else(|| Error::bad_request("Invalid input for field/attribute status. It is no status of a snapshot."))?;
    if let Some(progress) = body["progress"].as_str()
        && progress.strip_suffix('%').and_then(|number| number.parse::<u8>().ok()).is_none_or(|number| number > 100)
    {
        return Err(Error::bad_request("Progress must be an integer percentage"));
    }
    let progress = body["progress"].as_str().map(str::to_owned);
    if !matches!(snapshot.status, Status::Creating | Status::Deleting) {
        let status = snapshot.status.text();
        return Err(Error::bad_request(format!("Snapshot status {status} not allowed for update_snapshot_status")));
    }
    if !snapshot.status.may_be_told(status) {
        return Err(Error::bad_request(format!(
            "Provided snapshot status {} not allowed for snapshot with status {}.",
            status.text(),
            snapshot.status.text()
        )));
    }
    let mut row = ActiveModel { status: Set(status), ..Default::default() };
    if progress.is_some() {
        row.progress = Set(progress);
    }
    store::update(&app, &snapshot.id, row).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}
