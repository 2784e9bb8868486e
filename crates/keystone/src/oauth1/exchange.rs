//! The exchange: `request_token`, `authorize`, `access_token`. Secrets are answered as a form, as OAuth has it.

use std::time::Duration;

use http::StatusCode;
use kit::call::{Json, Path};
use kit::clock::Timestamp;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use super::signature::Signed;
use super::{access, in_person, is_over, requests, unsealed};
use crate::credentials::signature::same;
use crate::{Keystone, fault, projects, tokens};

/// How long a request token waits for somebody to grant it.
const REQUEST: Duration = Duration::from_secs(8 * 60 * 60);
/// How long an access token is good for.
const ACCESS: Duration = Duration::from_secs(24 * 60 * 60);

/// `POST /v3/OS-OAUTH1/request_token`
pub async fn request_token(keystone: Keystone, _: Context, signed: Signed) -> Result<Reply> {
    let consumer = signed.consumer(&keystone).await?;
    let project = signed.project_id.clone().ok_or_else(|| fault::expecting("Requested-Project-Id", "the headers"))?;
    signed.need("oauth_callback")?;
    signed.check(&unsealed(&keystone, &consumer.sealed)?, "")?;
    projects::store::fetch(keystone.db.read(), &project).await?;
    let secret = ids::hex();
    let row = requests::Model {
        id: ids::hex(),
        sealed: keystone.credential_keys.seal(secret.as_bytes()),
        consumer_id: consumer.id,
        requested_project_id: project,
        verifier: None,
        authorizing_user_id: None,
        roles: None,
        expires_at: Some(Timestamp::now().plus(REQUEST)),
    };
    let row = keystone.write(move |tx| Box::pin(async move { Ok(row.into_active_model().insert(tx).await?) })).await?;
    Ok(form(&row.id, &secret, row.expires_at))
}

/// `PUT /v3/OS-OAUTH1/authorize/{request_token_id}`: the caller grants some of the caller's own roles.
pub async fn authorize(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    in_person(&*tokens::standing(&keystone, &ctx.token).await?.ok_or_else(Error::unauthorized)?)?;
    let db = keystone.db.read();
    let row = requests::Entity::find_by_id(&id).one(db).await?.ok_or_else(|| fault::could_not_find("Request Token", &id))?;
    if is_over(row.expires_at) {
        return Err(Error::new(kit::Kind::Unauthorized, "Request token is expired."));
    }
    let asked = body.get("roles").and_then(Value::as_array).filter(|roles| !roles.is_empty());
    let asked = asked.ok_or_else(|| fault::expecting("roles", "the body"))?;
    let reference = keystone.reference.now(&keystone.db).await?;
    let user = ctx.user_id()?.to_owned();
    let held = tokens::scopes::role_ids(db, &user, &row.requested_project_id).await?;
    let mut roles = Vec::new();
    for role in asked {
        let text = |key: &str| role.get(key).and_then(Value::as_str);
        let id = text("id").map(str::to_owned).or_else(|| Some(reference.global_role(text("name")?)?.id.clone()));
        let id = id.filter(|id| held.contains(id));
        roles.push(id.ok_or_else(|| Error::new(kit::Kind::Unauthorized, "authorizing user does not have role required"))?);
    }
    let verifier: String = ids::hex().chars().take(8).collect();
    let granted =
        requests::Model { verifier: Some(verifier.clone()), authorizing_user_id: Some(user), roles: Some(kit::db::Json(roles)), ..row };
    keystone.write(move |tx| Box::pin(async move { Ok(granted.into_active_model().reset_all().update(tx).await.map(drop)?) })).await?;
    Reply::ok(&json!({"token": {"oauth_verifier": verifier}}))
}

/// `POST /v3/OS-OAUTH1/access_token`: once for each request token that was granted.
pub async fn access_token(keystone: Keystone, _: Context, signed: Signed) -> Result<Reply> {
    let consumer = signed.consumer(&keystone).await?;
    let id = signed.need("oauth_token")?;
    let row = requests::Entity::find_by_id(id).one(keystone.db.read()).await?.ok_or_else(Error::unauthorized)?;
    signed.check(&unsealed(&keystone, &consumer.sealed)?, &unsealed(&keystone, &row.sealed)?)?;
    let verified = row.verifier.as_deref().is_some_and(|verifier| signed.need("oauth_verifier").is_ok_and(|sent| same(verifier, sent)));
    let (Some(user), Some(roles)) = (row.authorizing_user_id, row.roles) else { return Err(Error::unauthorized()) };
    if row.consumer_id != consumer.id || is_over(row.expires_at) || !verified {
        return Err(Error::unauthorized());
    }
    let secret = ids::hex();
    let granted = access::Model {
        id: ids::hex(),
        sealed: keystone.credential_keys.seal(secret.as_bytes()),
        consumer_id: consumer.id,
        project_id: row.requested_project_id,
        authorizing_user_id: user,
        roles,
        expires_at: Some(Timestamp::now().plus(ACCESS)),
    };
    let request = row.id;
    let granted = keystone
        .write(move |tx| {
            Box::pin(async move {
                if requests::Entity::delete_by_id(request).exec(tx).await?.rows_affected == 0 {
                    return Err(Error::unauthorized());
                }
                Ok(granted.into_active_model().insert(tx).await?)
            })
        })
        .await?;
    Ok(form(&granted.id, &secret, granted.expires_at))
}

fn form(id: &str, secret: &str, end: Option<Timestamp>) -> Reply {
    let end = end.map(|end| format!("&oauth_expires_at={}", end.to_micros_z())).unwrap_or_default();
    let body = format!("oauth_token={id}&oauth_token_secret={secret}{end}");
    Reply::body("application/x-www-form-urlencoded", body).status(StatusCode::CREATED)
}
