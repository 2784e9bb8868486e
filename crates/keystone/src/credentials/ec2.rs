//! `/v3/users/{user_id}/credentials/OS-EC2` and the tokens that signed requests are exchanged for: `/v3/ec2tokens`, `/v3/s3tokens`.

use kit::call::{Json, Path, Query};
use kit::clock::Timestamp;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::signature::Signed;
use super::{Column, Entity, Model, store};
use crate::fields::{Extra, Fields};
use crate::policy::scope;
use crate::tokens::auth::{self, Asked, Proof};
use crate::tokens::claims::{Method, Scope};
use crate::tokens::delegation;
use crate::{Keystone, fault, list, projects, tokens, trusts, users};

/// How old a signed request may be.
const FRESH: std::time::Duration = std::time::Duration::from_secs(15 * 60);

/// What is sealed in an access key's credential.
#[derive(Debug, Serialize, Deserialize)]
pub struct Blob {
    pub access: String,
    pub secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_id: Option<String>,
}

/// `GET /v3/users/{user_id}/credentials/OS-EC2`
pub async fn list(keystone: Keystone, ctx: Context, Path(user): Path<String>, query: Query) -> Result<Reply> {
    ctx.authorize(&scope(&ctx).with("user.id", &user))?;
    delegation::no_secrets(&keystone, &ctx).await?;
    let rows = Entity::find().filter(Column::UserId.eq(&user)).filter(Column::Type.eq("ec2")).all(keystone.db.read()).await?;
    let items = rows.iter().filter_map(|row| Some(view(&ctx, row, &blob(&keystone, row)?))).collect();
    list::whole(&ctx, &format!("/users/{user}/credentials/OS-EC2"), &query, "credentials", items)
}

/// `GET /v3/users/{user_id}/credentials/OS-EC2/{access}`
pub async fn show(keystone: Keystone, ctx: Context, Path((user, access)): Path<(String, String)>) -> Result<Reply> {
    users::store::fetch(keystone.db.read(), &user).await?;
    let (row, blob) = by_access(&keystone, &access).await?;
    ctx.authorize(&scope(&ctx).with("user.id", &row.user_id))?;
    delegation::no_secrets(&keystone, &ctx).await?;
    Reply::ok(&json!({"credential": view(&ctx, &row, &blob)}))
}

/// `POST /v3/users/{user_id}/credentials/OS-EC2`: an access key for a project; it opens nothing unless the user has a role there.
pub async fn create(keystone: Keystone, ctx: Context, Path(user): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    ctx.authorize(&scope(&ctx).with("user.id", &user))?;
    delegation::no_secrets(&keystone, &ctx).await?;
    let mut fields = Fields::of(json!({"credential": body}), "credential")?;
    let project_id = fields.required("tenant_id")?;
    let db = keystone.db.read();
    users::store::fetch(db, &user).await?;
    projects::store::fetch(db, &project_id).await?;
    let blob = Blob { access: ids::hex(), secret: ids::hex(), trust_id: None };
    let row = Model {
        id: store::ec2_id(&blob.access),
        r#type: "ec2".into(),
        user_id: user,
        project_id: Some(project_id),
        sealed: store::seal(&keystone, &serde_json::to_string(&blob)?),
        extra: Extra::default(),
    };
    let row = keystone.write(move |tx| Box::pin(store::insert(tx, row))).await?;
    Reply::created(&json!({"credential": view(&ctx, &row, &blob)}))
}

/// `DELETE /v3/users/{user_id}/credentials/OS-EC2/{access}`
pub async fn delete(keystone: Keystone, ctx: Context, Path((user, access)): Path<(String, String)>) -> Result<Reply> {
    users::store::fetch(keystone.db.read(), &user).await?;
    let (row, _) = by_access(&keystone, &access).await?;
    ctx.authorize(&scope(&ctx).with("user.id", &row.user_id))?;
    delegation::no_secrets(&keystone, &ctx).await?;
    keystone.write(move |tx| Box::pin(async move { Ok(Entity::delete_by_id(row.id).exec(tx).await.map(drop)?) })).await?;
    Reply::no_content()
}

/// `POST /v3/ec2tokens`: for services that receive EC2 requests.
pub async fn ec2_token(keystone: Keystone, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    exchange(&keystone, body, Signed::is_ec2_by).await
}

/// `POST /v3/s3tokens`: for services that receive S3 requests.
pub async fn s3_token(keystone: Keystone, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    exchange(&keystone, body, Signed::is_s3_by).await
}

async fn exchange(keystone: &Keystone, mut body: Value, is_by: fn(&Signed, &str) -> bool) -> Result<Reply> {
    let sent = ["credentials", "ec2Credentials"].iter().find_map(|key| body.get_mut(*key).map(Value::take));
    let sent = sent.ok_or_else(|| fault::expecting("credentials", "the body"))?;
    let wrong = |error: serde_json::Error| Error::bad_request(format!("Invalid input for field 'credentials': {error}"));
    let signed: Signed = serde_json::from_value(sent).map_err(wrong)?;
    let stale = signed.date().and_then(read_date).is_some_and(|at| at.plus(FRESH) < Timestamp::now());
    let row = Entity::find_by_id(store::ec2_id(&signed.access)).filter(Column::Type.eq("ec2")).one(keystone.db.read()).await?;
    let found = row.and_then(|row| Some((blob(keystone, &row)?, row)));
    let Some((blob, row)) = found.filter(|(blob, _)| !stale && is_by(&signed, &blob.secret)) else {
        return Err(Error::unauthorized());
    };
    let db = keystone.db.read();
    let user = users::Entity::find_by_id(&row.user_id).one(db).await?.ok_or_else(Error::unauthorized)?;
    let asked = match (&blob.trust_id, row.project_id) {
        (Some(id), project) => {
            let trust = trusts::store::usable(db, id).await?.ok_or_else(Error::unauthorized)?;
            Asked { scope: project.map_or(Scope::Unscoped, Scope::Project), trust: Some(trust) }
        }
        (None, Some(project)) => Asked::of(Scope::Project(project)),
        (None, None) => return Err(Error::unauthorized()),
    };
    let (token, standing) = auth::grant(keystone, Proof::of(user, Method::Ec2), asked).await?;
    Ok(Reply::ok(&tokens::view::token(&standing, true))?.header("x-subject-token", &token))
}

/// `20260131T102030Z` or any other way to write a time.
fn read_date(text: &str) -> Option<Timestamp> {
    let compact = |t: &str| {
        Some(format!("{}-{}-{}T{}:{}:{}Z", t.get(..4)?, t.get(4..6)?, t.get(6..8)?, t.get(9..11)?, t.get(11..13)?, t.get(13..15)?))
    };
    Timestamp::parse(text).or_else(|| Timestamp::parse(&compact(text)?))
}

/// Nobody can guess an access key, so that everybody may know which are none; whose it is, it says itself.
async fn by_access(keystone: &Keystone, access: &str) -> Result<(Model, Blob)> {
    let row = Entity::find_by_id(store::ec2_id(access)).filter(Column::Type.eq("ec2")).one(keystone.db.read()).await?;
    let row = row.ok_or_else(|| fault::could_not_find("credential", access))?;
    let blob = blob(keystone, &row).ok_or_else(|| fault::could_not_find("credential", access))?;
    Ok((row, blob))
}

fn blob(keystone: &Keystone, row: &Model) -> Option<Blob> {
    serde_json::from_str(&store::open(keystone, row)?).ok()
}

fn view(ctx: &Context, row: &Model, blob: &Blob) -> Value {
    let place = list::link(ctx, &format!("/users/{}/credentials/OS-EC2/{}", row.user_id, blob.access));
    json!({
        "user_id": row.user_id, "tenant_id": row.project_id, "access": blob.access, "secret": blob.secret, "trust_id": blob.trust_id,
        "links": {"self": place},
    })
}
