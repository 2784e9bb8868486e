//! `/v2.0/tokens` and `/v2.0/tenants`

use kit::call::{Json, Query};
use kit::{Context, Error, Reply, Result};
use sea_orm::EntityTrait;
use serde::Deserialize;
use serde_json::json;

use super::view;
use crate::tokens::auth::receipt::Receipt;
use crate::tokens::auth::{self, Asked, Reference};
use crate::tokens::claims::Scope;
use crate::{DEFAULT_DOMAIN, Keystone, projects, tokens};

/// The body of `POST /v2.0/tokens`.
#[derive(Deserialize)]
pub struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Auth {
    #[serde(default)]
    tenant_name: Option<String>,
    #[serde(default)]
    tenant_id: Option<String>,
    #[serde(default)]
    password_credentials: Option<Credentials>,
    #[serde(default)]
    token: Option<Token>,
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    username: Option<String>,
    #[serde(default, rename = "userId")]
    user_id: Option<String>,
    password: String,
}

#[derive(Deserialize)]
struct Token {
    id: String,
}

/// `POST /v2.0/tokens`
pub async fn create(keystone: Keystone, _: Context, Json(Login { auth: body }): Json<Login>) -> Result<Reply> {
    let proof = match (&body.password_credentials, &body.token) {
        (Some(credentials), _) => {
            let domain = Reference { id: Some(DEFAULT_DOMAIN.to_owned()), ..Reference::default() };
            let who = Reference { id: credentials.user_id.clone(), name: credentials.username.clone(), domain: Some(Box::new(domain)) };
            auth::methods::by_password(&keystone, &who, &credentials.password).await?
        }
        (None, Some(token)) => auth::methods::by_token(&keystone, &token.id).await?,
        (None, None) => return Err(Error::bad_request("Expecting to find passwordCredentials or token in auth.")),
    };
    // v2.0 knows neither domains nor a second factor
    if proof.user.domain_id != DEFAULT_DOMAIN || Receipt::if_needed(&keystone, &proof).is_some() {
        return Err(Error::unauthorized());
    }
    let name = body.tenant_name.filter(|name| !name.is_empty());
    let scope = match (body.tenant_id.filter(|id| !id.is_empty()), name) {
        (Some(id), _) => Scope::Project(id),
        (None, Some(name)) => {
            let tenant = projects::store::by_name(keystone.db.read(), DEFAULT_DOMAIN, &name).await?;
            Scope::Project(tenant.ok_or_else(Error::unauthorized)?.id)
        }
        (None, None) => Scope::Unscoped,
    };
    let (token, standing) = auth::grant(&keystone, proof, Asked::of(scope)).await?;
    let tenant = match &standing.target {
        Some(target) => projects::Entity::find_by_id(&target.id).one(keystone.db.read()).await?,
        None => None,
    };
    if tenant.as_ref().is_some_and(|tenant| tenant.domain_id != DEFAULT_DOMAIN) {
        return Err(Error::unauthorized());
    }
    Reply::ok(&view::access(&keystone.config, &token, &standing, tenant.as_ref()))
}

/// `GET /v2.0/tenants`: those the token's user can use.
pub async fn tenants(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let standing = tokens::standing(&keystone, &ctx.token).await?.ok_or_else(Error::unauthorized)?;
    let mut rows = tokens::scopes::projects(keystone.db.read(), &standing.user.id, false).await?;
    rows.retain(|row| row.domain_id == DEFAULT_DOMAIN && query.get("name").is_none_or(|name| row.name == name));
    let tenants: Vec<_> = rows.iter().map(view::tenant).collect();
    Reply::ok(&json!({"tenants": tenants, "tenants_links": []}))
}
