//! `/os-volume-transfer` and `/volume-transfers`: two names of one thing; the newer one has `no_snapshots`.

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::microversion::At;
use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result, Versioned, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ActiveModel, Column, Entity, Transfer, digest, fetch, not_found};
use crate::body::{Body, boolean, text};
use crate::page::{self, Rows, Sorts};
use crate::volumes::{self, Change, filters};
use crate::{Cinder, attachments, snapshots};

const SORTS: Sorts<Entity> = &[
    ("id", Column::Id),
    ("name", Column::Name),
    ("display_name", Column::Name),
    ("volume_id", Column::VolumeId),
    ("created_at", Column::CreatedAt),
];

#[derive(Serialize, Versioned)]
struct TransferView<'a> {
    id: &'a str,
    created_at: String,
    name: &'a Option<String>,
    volume_id: &'a str,
    links: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_key: Option<&'a str>,
    #[since(3.55)]
    no_snapshots: bool,
    #[since(3.57)]
    source_project_id: &'a str,
    #[since(3.57)]
    destination_project_id: Option<String>,
    #[since(3.57)]
    accepted: bool,
}

fn links(ctx: &Context, id: &str) -> Value {
    let path = format!("/os-volume-transfer/{id}");
    json!([{"rel": "self", "href": ctx.link(&path)}, {"rel": "bookmark", "href": ctx.bookmark(&path)}])
}

/// `{id, volume_id, name, links}`
pub fn brief(ctx: &Context, transfer: &Transfer) -> Value {
    json!({"id": transfer.id, "volume_id": transfer.volume_id, "name": transfer.name, "links": links(ctx, &transfer.id)})
}

fn whole(ctx: &Context, transfer: &Transfer, auth_key: Option<&str>) -> Result<Value> {
    let view = TransferView {
        id: &transfer.id,
        created_at: transfer.created_at.to_micros(),
        name: &transfer.name,
        volume_id: &transfer.volume_id,
        links: links(ctx, &transfer.id),
        auth_key,
        no_snapshots: transfer.no_snapshots,
        source_project_id: &transfer.project_id,
        // an accepted offer is no more, so what is shown is not accepted yet
        destination_project_id: None,
        accepted: false,
    };
    Ok(serde_json::to_value(At(&view, ctx.version))?)
}

/// `POST`
#[derive(Deserialize, Versioned)]
pub struct NewTransfer {
    volume_id: String,
    name: Option<String>,
    #[since(3.55)]
    #[serde(default, deserialize_with = "boolean")]
    no_snapshots: Option<bool>,
}

impl Wrapper for NewTransfer {
    const KEY: &'static str = "transfer";
}

pub async fn create(app: Cinder, ctx: Context, Body(body): Body<NewTransfer>) -> Result<Reply> {
    let volume = volumes::api::find(&app, &ctx, &body.volume_id).await?;
    if let Some(group) = &volume.group_id {
        return Err(volumes::store::invalid(format!("Volume {} is in the group {group} and cannot be transferred.", volume.id)));
    }
    if volume.encryption_key_id.is_some() && !ctx.speaks(crate::microversions::TRANSFER_ENCRYPTED) {
        return Err(volumes::store::invalid("transferring encrypted volume is not supported"));
    }
    if volume.encryption_key_id.is_some() && body.no_snapshots == Some(true) {
        return Err(volumes::store::invalid("transferring an encrypted volume without its snapshots is not supported"));
    }
    let key = ids::hex().get(..16).unwrap_or_default().to_owned();
    let salt = ids::hex();
    let transfer = Transfer {
        id: ids::uuid(),
        volume_id: volume.id.clone(),
        name: text("name", body.name)?,
        digest: digest(&salt, &key),
        salt,
        no_snapshots: body.no_snapshots.unwrap_or(false),
        project_id: volume.project_id,
        created_at: Timestamp::now(),
    };
    let row = transfer.clone();
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let free = volumes::store::change(tx, &row.volume_id, Change::OfferTransfer).await?;
                if !free || !attachments::store::of_volume(tx, &row.volume_id).await?.is_empty() {
                    return Err(volumes::store::invalid("status must be available"));
                }
                let snapshots = snapshots::store::of_volume(tx, &row.volume_id).await?;
                let busy = snapshots.iter().find(|snapshot| snapshot.status != snapshots::Status::Available);
                if let Some(busy) = busy.filter(|_| !row.no_snapshots) {
                    let sentence = format!("snapshot: {} status must be available", busy.id);
                    return Err(Error::bad_request(format!("Invalid snapshot: {sentence}")));
                }
                Entity::insert(ActiveModel::from(row)).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::json(StatusCode::ACCEPTED, &json!({"transfer": whole(&ctx, &transfer, Some(&key))?}))
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let transfer = find(&app, &ctx, &id).await?;
    Reply::ok(&json!({"transfer": whole(&ctx, &transfer, None)?}))
}

/// Takes the offer back.
pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let transfer = find(&app, &ctx, &id).await?;
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                if Entity::delete_by_id(&transfer.id).exec(tx).await?.rows_affected == 1 {
                    volumes::store::finish(tx, &transfer.volume_id, Change::EndTransfer).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let page = fetch_page(&app, &ctx, &query).await?;
    page.map(|transfer| brief(&ctx, &transfer)).reply(&ctx, &query, "/os-volume-transfer", "transfers", "transfers_links")
}

pub async fn detail(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut page = fetch_page(&app, &ctx, &query).await?;
    let rows = page.take().iter().map(|transfer| whole(&ctx, transfer, None)).collect::<Result<_>>()?;
    page.with(rows).reply(&ctx, &query, "/os-volume-transfer/detail", "transfers", "transfers_links")
}

async fn fetch_page(app: &Cinder, ctx: &Context, query: &Query) -> Result<Rows<Transfer>> {
    let mut select: Select<Entity> = Entity::find();
    if let Some(project) = filters::project(ctx, query)? {
        select = select.filter(Column::ProjectId.eq(project));
    }
    for (key, value) in &query.0 {
        select = match key.as_str() {
            "name" | "display_name" => select.filter(Column::Name.eq(value)),
            "volume_id" => select.filter(Column::VolumeId.eq(value)),
            "id" => select.filter(Column::Id.eq(value)),
            _ => select,
        };
    }
    page::fetch(app.db().read(), ctx, query, select, SORTS).await
}

async fn find(app: &Cinder, ctx: &Context, id: &str) -> Result<Transfer> {
    let transfer = fetch(app.db().read(), id).await?;
    let target = Target::project(&transfer.project_id);
    if !ctx.allows("volume:get_transfer", &target) {
        return Err(not_found(id));
    }
    ctx.enforce(ctx.rule, &target)?;
    Ok(transfer)
}
