//! `/v3/users`

use kit::call::{Json, Path, Query};
use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::{Column, Entity, Model, OPTIONS, store, view};
use crate::fields::{Extra, Fields, options};
use crate::{Keystone, domains, groups, list, projects, tokens};

/// `GET /v3/users`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let domain = domains::asked_for(&ctx, &query)?;
    ctx.authorize(&Target::new().with("domain_id", domain.as_deref().unwrap_or_default()))?;
    let mut select =
        Entity::find().filter(list::by_text(&query, "name", Column::Name)).filter(list::by_flag(&query, "enabled", Column::Enabled));
    if let Some(domain) = domain {
        select = select.filter(Column::DomainId.eq(domain));
    }
    if let Some(project) = query.get("default_project_id") {
        select = select.filter(Column::DefaultProjectId.eq(project));
    }
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |user: &Model| &user.id).await?;
    let items = page.rows.iter().map(|user| view::user(&ctx, user)).collect();
    list::envelope(&ctx, "/users", &query, "users", items, page.next)
}

/// `GET /v3/users/{user_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let user = known(&keystone, &ctx, &id).await?;
    Reply::ok(&json!({"user": view::user(&ctx, &user)}))
}

/// `POST /v3/users`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "user")?;
    let domain_id = domains::of_new(&ctx, fields.text("domain_id")?.flatten())?;
    ctx.authorize(&Target::new().with("domain_id", &domain_id))?;
    let name = fields.name("name", 255)?.ok_or_else(|| Error::bad_request("'name' is a required property"))?;
    let password = fields.text("password")?.flatten();
    let user = Model {
        id: ids::hex(),
        name,
        domain_id,
        default_project_id: fields.text("default_project_id")?.flatten(),
        password_hash: None,
        enabled: fields.flag("enabled")?.unwrap_or(true),
        tokens_valid_from: Timestamp::default(),
        options: options(fields.object("options")?, &Extra::default(), OPTIONS)?,
        extra: fields.extra(),
    };
    let user = Model { password_hash: hash(&keystone, password.as_deref()).await?, ..user };
    let user = keystone
        .write(move |tx| {
            Box::pin(async move {
                projects::store::domain(tx, &user.domain_id).await?;
                store::insert(tx, user).await
            })
        })
        .await?;
    Reply::created(&json!({"user": view::user(&ctx, &user)}))
}

/// `PATCH /v3/users/{user_id}`: a new password, and disabling, make the user's tokens void.
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let user = known(&keystone, &ctx, &id).await?;
    let mut fields = Fields::of(body, "user")?;
    fields.same("domain_id", &user.domain_id)?;
    let password = fields.text("password")?.flatten();
    let name = fields.name("name", 255)?.unwrap_or_else(|| user.name.clone());
    let enabled = fields.flag("enabled")?.unwrap_or(user.enabled);
    let default_project_id = fields.text("default_project_id")?.unwrap_or_else(|| user.default_project_id.clone());
    let options = options(fields.object("options")?, &user.options, OPTIONS)?;
    let new_hash = hash(&keystone, password.as_deref()).await?;
    let tokens_valid_from = if new_hash.is_some() || !enabled { Timestamp::now() } else { user.tokens_valid_from };
    let extra = fields.extra_over(&user.extra);
    let password_hash = new_hash.or(user.password_hash.clone());
    let user = Model { name, enabled, default_project_id, options, tokens_valid_from, extra, password_hash, ..user };
    let user = keystone.write(move |tx| Box::pin(store::update(tx, user))).await?;
    Reply::ok(&json!({"user": view::user(&ctx, &user)}))
}

/// `DELETE /v3/users/{user_id}`
pub async fn delete(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    known(&keystone, &ctx, &id).await?;
    keystone.write(move |tx| Box::pin(store::delete(tx, vec![id]))).await?;
    Reply::no_content()
}

/// `POST /v3/users/{user_id}/password`: who knows the old password may set a new one; no token is needed.
pub async fn change_password(keystone: Keystone, _: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "user")?;
    let (original, password) = (fields.required("original_password")?, fields.required("password")?);
    let who = tokens::auth::Reference { id: Some(id), ..Default::default() };
    let user = tokens::auth::by_password(&keystone, &who, &original).await?.user;
    if user.options.0.get("lock_password") == Some(&Value::Bool(true)) {
        return Err(Error::bad_request("Password cannot be changed: it is locked by an administrator."));
    }
    let password_hash = hash(&keystone, Some(&password)).await?;
    let user = Model { password_hash, tokens_valid_from: Timestamp::now(), ..user };
    keystone.write(move |tx| Box::pin(store::update(tx, user))).await?;
    Reply::no_content()
}

/// `GET /v3/users/{user_id}/projects`
pub async fn projects(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    known(&keystone, &ctx, &id).await?;
    let rows = tokens::scopes::projects(keystone.db.read(), &id, true).await?;
    let items = rows.iter().map(|row| projects::view::project(&ctx, row)).collect();
    list::whole(&ctx, &format!("/users/{id}/projects"), &query, "projects", items)
}

/// `GET /v3/users/{user_id}/groups`
pub async fn groups(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    known(&keystone, &ctx, &id).await?;
    let rows = groups::store::of_user(keystone.db.read(), &id).await?;
    let items = rows.iter().map(|row| groups::api::view(&ctx, row)).collect();
    list::whole(&ctx, &format!("/users/{id}/groups"), &query, "groups", items)
}

/// Users as another resource lists them.
pub fn views(ctx: &Context, users: &[Model]) -> Vec<Value> {
    users.iter().map(|user| view::user(ctx, user)).collect()
}

/// A user the caller may know of; to others one that is not theirs and one that does not exist are the same.
async fn known(keystone: &Keystone, ctx: &Context, id: &str) -> Result<Model> {
    let user = store::fetch(keystone.db.read(), id).await;
    let domain = user.as_ref().map(|user| user.domain_id.clone()).unwrap_or_default();
    ctx.authorize(&target(id, &domain))?;
    user
}

/// For policy: a user of a domain.
pub fn target(user_id: &str, domain_id: &str) -> Target {
    Target::new().with("user.id", user_id).with("domain_id", domain_id)
}

async fn hash(keystone: &Keystone, password: Option<&str>) -> Result<Option<String>> {
    match password {
        None => Ok(None),
        Some("") => Err(Error::bad_request("Invalid input for field 'password': '' is too short")),
        Some(password) => Ok(Some(keystone.passwords.hash(password).await?)),
    }
}
