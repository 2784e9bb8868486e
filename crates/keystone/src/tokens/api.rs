//! `/v3/auth/...`: logging in, validating, revoking, and where else one could go from here.

use std::sync::Arc;

use http::StatusCode;
use kit::call::{Call, FromCall, Json, Query};
use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result};
use serde_json::{Value, json};

use super::auth::receipt::Receipt;
use super::auth::{LoggedIn, Login};
use super::claims::Scope;
use super::validate::{self, Standing};
use super::{auth, revoked, scopes, view};
use crate::oauth1::signature::Signed;
use crate::{Keystone, domains, fault, list, projects};

/// How long after its end a token can still be asked about, for work that outlives it.
const ALLOW_EXPIRED: std::time::Duration = std::time::Duration::from_secs(48 * 60 * 60);

/// `POST /v3/auth/tokens`
pub async fn create(keystone: Keystone, _: Context, query: Query, headers: Headers, Json(login): Json<Login>) -> Result<Reply> {
    match auth::log_in(&keystone, &login.auth, &headers.signed, headers.receipt.as_deref()).await? {
        LoggedIn::Whole(token, standing) => {
            let body = view::token(&standing, !query.has("nocatalog"));
            Ok(Reply::json(StatusCode::CREATED, &body)?.header("x-subject-token", &token))
        }
        LoggedIn::InPart(receipt) => in_part(&keystone, &receipt).await,
    }
}

/// 401 with what is proved so far, and what is missing.
async fn in_part(keystone: &Keystone, receipt: &Receipt) -> Result<Reply> {
    let domain = projects::store::domain(keystone.db.read(), &receipt.user.domain_id).await?;
    let reply = Reply::json(StatusCode::UNAUTHORIZED, &receipt.view(&domain.name))?;
    let challenge = format!("Keystone uri=\"{}\"", keystone.config.public_url.trim_end_matches('/'));
    Ok(reply.header("openstack-auth-receipt", &receipt.sealed).header("www-authenticate", &challenge))
}

/// The headers that decide what is told of a token: which one it is, and whether the asker knows of access rules.
pub const ASKED_BY: &[&str] = &["x-subject-token", "openstack-identity-access-rules"];

/// `GET` and `HEAD /v3/auth/tokens`
pub async fn show(keystone: Keystone, ctx: Context, query: Query, headers: Headers) -> Result<Reply> {
    let (token, standing) = holder(&keystone, &ctx, &headers, query.flag("allow_expired")).await?;
    // who does not know access rules would let the token do everything
    let narrowed = standing.application_credential.as_ref().is_some_and(|credential| credential.access_rules.is_some());
    if narrowed && !headers.knows_access_rules {
        return Err(unknown(token));
    }
    let body = view::token(&standing, !query.has("nocatalog"));
    Ok(Reply::ok(&body)?.header("x-subject-token", token))
}

/// `DELETE /v3/auth/tokens`
pub async fn delete(keystone: Keystone, ctx: Context, headers: Headers) -> Result<Reply> {
    let (_, standing) = holder(&keystone, &ctx, &headers, false).await?;
    revoked::revoke(&keystone, standing.claims.audit_id(), standing.claims.expires_at).await?;
    Reply::no_content()
}

/// `GET /v3/auth/catalog`
pub async fn catalog(keystone: Keystone, ctx: Context) -> Result<Reply> {
    let standing = super::standing(&keystone, &ctx.token).await?.ok_or_else(Error::unauthorized)?;
    if standing.claims.scope == Scope::Unscoped {
        return Err(fault::refused("identity:get_auth_catalog."));
    }
    let links = json!({"self": list::link(&ctx, "/auth/catalog"), "previous": null, "next": null});
    Reply::ok(&json!({"catalog": view::catalog(&standing), "links": links}))
}

/// `GET /v3/auth/projects`
pub async fn projects(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let rows = scopes::projects(keystone.db.read(), ctx.user_id()?, false).await?;
    list::whole(&ctx, "/auth/projects", &query, "projects", rows.iter().map(|row| projects::view::project(&ctx, row)).collect())
}

/// `GET /v3/auth/domains`
pub async fn domains(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let rows = scopes::domains(keystone.db.read(), ctx.user_id()?).await?;
    list::whole(&ctx, "/auth/domains", &query, "domains", rows.iter().map(|row| domains::view(&ctx, row)).collect())
}

/// `GET /v3/auth/system`
pub async fn system(keystone: Keystone, ctx: Context) -> Result<Reply> {
    let may = scopes::system(keystone.db.read(), ctx.user_id()?).await?;
    let system: Vec<Value> = if may { vec![json!({"all": true})] } else { Vec::new() };
    Reply::ok(&json!({"system": system, "links": {"self": list::link(&ctx, "/auth/system")}}))
}

/// The headers these operations know.
pub struct Headers {
    /// The token asked about.
    subject: Option<String>,
    /// What was proved in an earlier login.
    receipt: Option<String>,
    knows_access_rules: bool,
    /// Which program signed the request, if one did.
    signed: Signed,
}

impl FromCall<Keystone> for Headers {
    async fn from_call(call: &mut Call<Keystone>) -> Result<Headers> {
        let signed = Signed::from_call(call).await?;
        let text = |name: &str| call.parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Headers {
            subject: text("x-subject-token"),
            receipt: text("openstack-auth-receipt"),
            knows_access_rules: text("openstack-identity-access-rules").is_some(),
            signed,
        })
    }
}

/// The token asked about and what it stands for, once the caller may know of it.
async fn holder<'s>(keystone: &Keystone, ctx: &Context, headers: &'s Headers, expired_too: bool) -> Result<(&'s str, Arc<Standing>)> {
    let missing = || Error::not_found("Could not find token: the header X-Subject-Token is missing.");
    let token = headers.subject.as_deref().ok_or_else(missing)?;
    let standing = match super::standing(keystone, token).await? {
        Some(standing) => Some(standing),
        None if expired_too && ctx.is_service_or_admin() => stood(keystone, token).await?,
        None => None,
    };
    // nobody can guess a token, so that everybody may know which are none
    let standing = standing.ok_or_else(|| unknown(token))?;
    ctx.authorize(&Target::new().with("user.id", &standing.user.id))?;
    Ok((token, standing))
}

/// What a token stood for that ended not long ago.
async fn stood(keystone: &Keystone, token: &str) -> Result<Option<Arc<Standing>>> {
    match keystone.keys.open_token(token) {
        Some(claims) if claims.expires_at.plus(ALLOW_EXPIRED) > Timestamp::now() => {
            Ok(validate::stands_ever(keystone, claims).await?.map(Arc::new))
        }
        Some(_) | None => Ok(None),
    }
}

fn unknown(token: &str) -> Error {
    Error::not_found(format!("Could not find token: {}.", token.get(..8).unwrap_or_default()))
}
