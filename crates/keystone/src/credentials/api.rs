//! `/v3/credentials`

use kit::call::{Json, Path, Query};
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::{Column, Entity, Model, store};
use crate::fields::Fields;
use crate::tokens::delegation;
use crate::{Keystone, fault, list};

/// `GET /v3/credentials`: all for who may see all, else one's own.
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    delegation::no_secrets(&keystone, &ctx).await?;
    let own = ctx.user_id()?.to_owned();
    let mut select = Entity::find();
    if let Some(user) = query.get("user_id") {
        select = select.filter(Column::UserId.eq(user));
    }
    if let Some(kind) = query.get("type") {
        select = select.filter(Column::Type.eq(kind));
    }
    if !ctx.allows(ctx.rule, &owner("")) {
        ctx.authorize(&owner(&own))?;
        select = select.filter(Column::UserId.eq(own));
    }
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |credential: &Model| &credential.id).await?;
    let items = page.rows.iter().map(|credential| view(&keystone, &ctx, credential)).collect();
    list::envelope(&ctx, "/credentials", &query, "credentials", items, page.next)
}

/// `GET /v3/credentials/{credential_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let credential = known(&keystone, &ctx, &id).await?;
    Reply::ok(&json!({"credential": view(&keystone, &ctx, &credential)}))
}

/// `POST /v3/credentials`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "credential")?;
    let user_id = match fields.text("user_id")?.flatten() {
        Some(id) => id,
        None => ctx.user_id()?.to_owned(),
    };
    ctx.authorize(&owner(&user_id))?;
    delegation::no_secrets(&keystone, &ctx).await?;
    let (kind, blob) = (fields.required("type")?, text_or_object(&mut fields)?);
    let blob = blob.ok_or_else(|| Error::bad_request("'blob' is a required property"))?;
    let project_id = fields.text("project_id")?.flatten();
    let id = if kind == "ec2" { ec2_id(&blob, project_id.as_deref())? } else { ids::hex() };
    let credential = Model { id, r#type: kind, user_id, project_id, sealed: store::seal(&keystone, &blob), extra: fields.extra() };
    let credential = keystone.write(move |tx| Box::pin(store::insert(tx, credential))).await?;
    Reply::created(&json!({"credential": view(&keystone, &ctx, &credential)}))
}

/// `PATCH /v3/credentials/{credential_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let credential = known(&keystone, &ctx, &id).await?;
    let mut fields = Fields::of(body, "credential")?;
    let user_id = fields.text("user_id")?.flatten().unwrap_or_else(|| credential.user_id.clone());
    // nobody makes a secret somebody else's who may not change that one's either
    ctx.authorize(&owner(&user_id))?;
    let kind = fields.text("type")?.flatten().unwrap_or_else(|| credential.r#type.clone());
    let project_id = fields.text("project_id")?.unwrap_or_else(|| credential.project_id.clone());
    let blob = text_or_object(&mut fields)?;
    if kind == "ec2" {
        let current = store::open(&keystone, &credential).unwrap_or_default();
        let next = blob.as_deref().unwrap_or(&current);
        ec2_id(next, project_id.as_deref())?;
        same_delegation(&current, next)?;
    }
    let sealed = blob.map_or_else(|| credential.sealed.clone(), |blob| store::seal(&keystone, &blob));
    let extra = fields.extra_over(&credential.extra);
    let credential = Model { r#type: kind, user_id, project_id, sealed, extra, ..credential };
    let credential = keystone.write(move |tx| Box::pin(store::update(tx, credential))).await?;
    Reply::ok(&json!({"credential": view(&keystone, &ctx, &credential)}))
}

/// `DELETE /v3/credentials/{credential_id}`
pub async fn delete(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    known(&keystone, &ctx, &id).await?;
    keystone.write(move |tx| Box::pin(async move { Ok(Entity::delete_by_id(id).exec(tx).await.map(drop)?) })).await?;
    Reply::no_content()
}

/// For policy: something of a user.
pub fn owner(user_id: &str) -> Target {
    Target::new().with("user.id", user_id)
}

/// A credential the caller may know of; to others one that is not theirs and one that does not exist are the same.
async fn known(keystone: &Keystone, ctx: &Context, id: &str) -> Result<Model> {
    let credential = store::fetch(keystone.db.read(), id).await;
    let user = credential.as_ref().map(|credential| credential.user_id.clone()).unwrap_or_default();
    ctx.authorize(&owner(&user))?;
    delegation::no_secrets(keystone, ctx).await?;
    credential
}

/// The blob is text; some clients send the object that the text would hold.
fn text_or_object(fields: &mut Fields) -> Result<Option<String>> {
    match fields.take("blob") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(object @ Value::Object(_)) => Ok(Some(object.to_string())),
        Some(other) => Err(Error::bad_request(format!("Invalid input for field 'blob': {other} is not of type 'string'"))),
    }
}

fn ec2_id(blob: &str, project_id: Option<&str>) -> Result<String> {
    let blob: Value = serde_json::from_str(blob).map_err(|_| Error::bad_request("Invalid blob in credential"))?;
    let access = blob.get("access").and_then(Value::as_str).ok_or_else(|| Error::bad_request("Invalid blob in credential"))?;
    if project_id.is_none() {
        return Err(fault::expecting("project_id", "credential"));
    }
    Ok(store::ec2_id(access))
}

/// A key that acts under a trust, an application credential or an access token keeps doing so.
fn same_delegation(current: &str, next: &str) -> Result<()> {
    let read = |blob: &str| serde_json::from_str::<Value>(blob).unwrap_or_default();
    let (current, next) = (read(current), read(next));
    match ["trust_id", "app_cred_id", "access_token_id", "access_id"].iter().find(|key| current.get(*key) != next.get(*key)) {
        Some(key) => Err(Error::bad_request(format!("{key} can not be updated for credential"))),
        None => Ok(()),
    }
}

fn view(keystone: &Keystone, ctx: &Context, credential: &Model) -> Value {
    let blob = store::open(keystone, credential);
    let known = json!({
        "id": credential.id, "type": credential.r#type, "user_id": credential.user_id, "project_id": credential.project_id, "blob": blob,
    });
    list::object(ctx, &format!("/credentials/{}", credential.id), known, &credential.extra)
}
