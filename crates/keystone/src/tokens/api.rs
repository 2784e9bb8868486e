//! `/v3/auth/...`: logging in, validating, revoking, and where else one could go from here.

use std::sync::Arc;

use http::StatusCode;
use kit::call::{Call, FromCall, Json, Query};
use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::auth::Login;
use super::claims::Scope;
use super::validate::{self, Standing};
use super::{auth, scopes, view};
use crate::{Keystone, domains, list, projects};

/// `POST /v3/auth/tokens`
pub async fn create(keystone: Keystone, _: Context, query: Query, Json(login): Json<Login>) -> Result<Reply> {
    let (token, standing) = auth::log_in(&keystone, &login.auth).await?;
    let body = view::token(&standing, !query.has("nocatalog"));
    Ok(Reply::json(StatusCode::CREATED, &body)?.header("x-subject-token", &token))
}

/// `GET` and `HEAD /v3/auth/tokens`
pub async fn show(keystone: Keystone, ctx: Context, query: Query, subject: Subject) -> Result<Reply> {
    let (token, standing) = holder(&keystone, &ctx, &subject, query.flag("allow_expired")).await?;
    let body = view::token(&standing, !query.has("nocatalog"));
    Ok(Reply::ok(&body)?.header("x-subject-token", token))
}

/// `DELETE /v3/auth/tokens`
pub async fn delete(keystone: Keystone, ctx: Context, subject: Subject) -> Result<Reply> {
    let (_, standing) = holder(&keystone, &ctx, &subject, false).await?;
    let row = revoked::ActiveModel { audit_id: Set(standing.claims.audit_id().to_owned()), expires_at: Set(standing.claims.expires_at) };
    keystone
        .write(move |tx| {
            Box::pin(async move {
                // those that have expired by now need no list to be refused
                let past = revoked::Column::ExpiresAt.lt(Timestamp::now());
                revoked::Entity::delete_many().filter(past).exec(tx).await?;
                let taken = OnConflict::column(revoked::Column::AuditId).do_nothing().to_owned();
                revoked::Entity::insert(row).on_conflict(taken).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}

/// `GET /v3/auth/catalog`
pub async fn catalog(keystone: Keystone, ctx: Context) -> Result<Reply> {
    let standing = super::standing(&keystone, &ctx.token).await?.ok_or_else(Error::unauthorized)?;
    if standing.claims.scope == Scope::Unscoped {
        return Err(crate::fault::refused("identity:get_auth_catalog."));
    }
    Reply::ok(
        &json!({"catalog": view::catalog(&standing), "links": {"self": list::link(&ctx, "/auth/catalog"), "previous": null, "next": null}}),
    )
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

/// The token asked about: the header `X-Subject-Token`.
pub struct Subject(Option<String>);

impl FromCall<Keystone> for Subject {
    async fn from_call(call: &mut Call<Keystone>) -> Result<Subject> {
        let header = call.parts.headers.get("x-subject-token");
        Ok(Subject(header.and_then(|value| value.to_str().ok()).map(str::to_owned)))
    }
}

/// The token asked about and what it stands for, once the caller may know of it.
async fn holder<'s>(keystone: &Keystone, ctx: &Context, subject: &'s Subject, expired_too: bool) -> Result<(&'s str, Arc<Standing>)> {
    let token = subject.0.as_deref().ok_or_else(|| Error::not_found("Could not find token: the header X-Subject-Token is missing."))?;
    let unknown = || Error::not_found(format!("Could not find token: {}.", token.get(..8).unwrap_or_default()));
    let standing = match super::standing(keystone, token).await? {
        Some(standing) => Some(standing),
        None if expired_too && ctx.is_service_or_admin() => match keystone.keys.open_token(token) {
            Some(claims) => validate::stands_ever(keystone, claims).await?.map(Arc::new),
            None => None,
        },
        None => None,
    };
    // who may not ask learns nothing from the difference between unknown and forbidden
    let owner = standing.as_ref().map(|standing| standing.user.id.as_str()).unwrap_or_default();
    ctx.authorize(&Target::new().with("user.id", owner))?;
    Ok((token, standing.ok_or_else(unknown)?))
}

/// Tokens taken back one by one.
mod revoked {
    use kit::clock::Timestamp;
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "revoked_tokens")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub audit_id: String,
        pub expires_at: Timestamp,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
