//! Create, show, change, delete.

use kit::clock::Timestamp;
use kit::{Context, Error, Json, Path, Raw, Reply, Result, ids};
use serde_json::{Map, Value};

use super::store::Objects;
use super::{Image, fields, patch, pending, permitted, places, seen, store, target, view};
use crate::Glance;
use crate::data::leftovers;
use crate::entity::Visibility;
use crate::fault::{media_type, no_image, not_yours};
use crate::import::methods;
use crate::quota;

/// Bytes a patch may have.
const PATCH: usize = 1 << 20;

/// `POST /images`
pub async fn create(app: Glance, ctx: Context, body: Json<Value>) -> Result<Reply> {
    let Value::Object(body) = body.0 else { return Err(Error::bad_request("Request body must be a JSON object.")) };
    let image = read(&ctx, &body)?;
    let (made, limits) = (image.clone(), quota::of(&app, &image.row.owner).await?);
    app.db
        .write(move |tx| {
            Box::pin(async move {
                store::insert(tx, &made).await?;
                quota::check_count(tx, &made.row.owner, &limits).await
            })
        })
        .await?;
    let location = format!("{}/v2/images/{}", ctx.base_url, image.row.id);
    Ok(Reply::created(&view::view(&app, &ctx, &image))?
        .header("location", &location)
        .header("openstack-image-import-methods", &methods(&app).join(","))
        .header("openstack-image-store-ids", &app.stores.writable().join(",")))
}

/// The image that a client describes, if the client may make it.
pub fn read(ctx: &Context, body: &Map<String, Value>) -> Result<Image> {
    let id = match body.get("id") {
        None => ids::uuid(),
        Some(Value::String(text)) => ids::parse_uuid(text).ok_or_else(|| fields::invalid("id", &format!("'{text}' is not a UUID")))?,
        Some(other) => return Err(fields::invalid("id", &format!("{other} is not of type 'string'"))),
    };
    let mut image = Image::new(id, ctx.project_id()?.to_owned());
    for (key, value) in body.iter().filter(|(key, _)| *key != "id") {
        fields::set(&mut image, key, value)?;
    }
    fields::check_quota(&image)?;
    if !ctx.allows("add_image", &target(ctx, &image.row)) {
        return Err(Error::forbidden(format!("You are not permitted to create images owned by '{}'.", image.row.owner)));
    }
    check_visibility(ctx, &image, Visibility::Shared)?;
    Ok(image)
}

/// Making an image public, or known to everybody, has rules of its own.
fn check_visibility(ctx: &Context, image: &Image, was: Visibility) -> Result<()> {
    let rule = match image.row.visibility {
        now if now == was => return Ok(()),
        Visibility::Public => "publicize_image",
        Visibility::Community => "communitize_image",
        Visibility::Shared | Visibility::Private => return Ok(()),
    };
    if ctx.allows(rule, &target(ctx, &image.row)) {
        return Ok(());
    }
    Err(not_yours(rule))
}

pub async fn show(app: Glance, ctx: Context, id: Path<String>) -> Result<Reply> {
    let (image, _) = seen(&app, &ctx, &id.0).await?;
    Reply::ok(&view::view(&app, &ctx, &image))
}

/// `PATCH /images/{id}`
pub async fn update(app: Glance, ctx: Context, id: Path<String>, raw: Raw) -> Result<Reply> {
    let media_type = media_type(&raw.parts).to_owned();
    let body = axum::body::to_bytes(raw.body, PATCH).await.map_err(|_| Error::too_large("Request is too large."))?;
    let (places, changes) = places::split(patch::read(&media_type, &body)?);
    permitted(&app, &ctx, &id.0, "modify_image").await?;
    if !places.is_empty() {
        places::change(&app, &ctx, &id.0, &places, &changes).await?;
        return Reply::ok(&view::view(&app, &ctx, &seen(&app, &ctx, &id.0).await?.0));
    }
    let caller = ctx.clone();
    let changed = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let before = store::fetch(tx, &id.0).await?.ok_or_else(|| no_image(&id.0))?;
                let was = before.row.clone();
                let mut image = patch::apply(before, &changes)?;
                check_visibility(&caller, &image, was.visibility)?;
                if image.row.owner != was.owner && !caller.is_admin() {
                    return Err(Error::forbidden("Owner can't be updated by non admin."));
                }
                image.row.updated_at = Timestamp::now();
                store::update(tx, &image, &was).await?;
                Ok(image)
            })
        })
        .await?;
    Reply::ok(&view::view(&app, &ctx, &changed))
}

/// Deletes the row, then its objects: what a crash leaves between them is noted in the same transaction.
pub async fn delete(app: Glance, ctx: Context, id: Path<String>) -> Result<Reply> {
    let id = permitted(&app, &ctx, &id.0, "delete_image").await?.row.id;
    let row = id.clone();
    let delayed = app.settings.delayed_delete.is_some();
    let deletion = app.db.write(move |tx| {
        Box::pin(async move {
            let waits = delayed && pending::put_aside(tx, &row).await?;
            let objects = if waits { Objects::Stay } else { Objects::Go };
            store::delete(tx, &row, objects).await
        })
    });
    let left = deletion.await?;
    app.cache.remove(&id).await?;
    leftovers::clear(&app, left).await;
    Reply::no_content()
}
