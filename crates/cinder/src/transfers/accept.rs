//! Taking an offered volume over: the volume, its snapshots and the quota of both change hands in one transaction.

use http::StatusCode;
use kit::call::Wrapper;
use kit::{Context, Error, Path, Reply, Result, Versioned};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde::Deserialize;
use serde_json::json;

use super::{Entity, Transfer, api, digest, fetch, not_found};
use crate::body::Body;
use crate::quotas::{self, store as quota};
use crate::volumes::{self, Change, Volume};
use crate::{Cinder, snapshots, types};

/// `POST .../accept`
#[derive(Deserialize, Versioned)]
pub struct Acceptance {
    auth_key: String,
}

impl Wrapper for Acceptance {
    const KEY: &'static str = "accept";
}

pub async fn accept(app: Cinder, ctx: Context, Path(id): Path<String>, Body(body): Body<Acceptance>) -> Result<Reply> {
    let transfer = fetch(app.db().read(), &id).await?;
    if digest(&transfer.salt, &body.auth_key) != transfer.digest {
        return Err(Error::bad_request(format!("Invalid auth key: Attempt to transfer {id} with invalid auth key.")));
    }
    let volume = volumes::store::fetch(app.db().read(), &transfer.volume_id).await?;
    // a private type must be the acceptor's too
    let type_name = types::store::find(app.db().read(), &ctx, &volume.type_id).await.map(|kind| kind.name).map_err(|_| {
        Error::bad_request(format!("Invalid volume: the volume type {} is not accessible to the accepting project.", volume.type_id))
    })?;
    let (answer, project, user) = (api::brief(&ctx, &transfer), ctx.project_id()?.to_owned(), ctx.user_id()?.to_owned());
    app.db().write(move |tx| Box::pin(async move { hand_over(tx, &transfer, &type_name, project, user).await })).await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"transfer": answer}))
}

async fn hand_over(tx: &impl ConnectionTrait, transfer: &Transfer, type_name: &str, project: String, user: String) -> Result<()> {
    // whoever is second finds nothing
    if Entity::delete_by_id(&transfer.id).exec(tx).await?.rows_affected == 0 {
        return Err(not_found(&transfer.id));
    }
    let volume = volumes::store::lock(tx, &transfer.volume_id).await?;
    volumes::store::change_or_refuse(tx, &volume.id, Change::EndTransfer).await?;
    let charges = quotas::volume(volume.size, type_name);
    quota::check_volume_size(tx, &project, volume.size).await?;
    quota::charge(tx, &project, &charges).await?;
    quota::release(tx, &volume.project_id, &charges).await?;
    let owner = volumes::ActiveModel { project_id: Set(project.clone()), user_id: Set(user.clone()), ..Default::default() };
    volumes::Entity::update_many().set(owner).filter(volumes::Column::Id.eq(&volume.id)).exec(tx).await?;
    if transfer.no_snapshots {
        return Ok(());
    }
    hand_over_snapshots(tx, &volume, type_name, project, user).await
}

async fn hand_over_snapshots(tx: &impl ConnectionTrait, volume: &Volume, type_name: &str, project: String, user: String) -> Result<()> {
    for snapshot in snapshots::store::of_volume(tx, &volume.id).await? {
        let charges = quotas::snapshot(snapshot.size, type_name);
        quota::charge(tx, &project, &charges).await?;
        quota::release(tx, &snapshot.project_id, &charges).await?;
    }
    let owner = snapshots::ActiveModel { project_id: Set(project), user_id: Set(user), ..Default::default() };
    snapshots::Entity::update_many().set(owner).filter(snapshots::Column::VolumeId.eq(&volume.id)).exec(tx).await?;
    Ok(())
}
