//! `/v3/users`

use kit::call::{Json, Path, Query};
use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter};
use serde_json::{Map, Value, json};

use super::{Column, Entity, Model, OPTIONS, store, view};
use crate::fields::{Extra, Fields, options};
use crate::{Keystone, domains, groups, list, projects, tokens};

/// The keys by which users can be ordered.
const SORT: &[(&str, Column)] = &[("id", Column::Id), ("name", Column::Name), ("domain_id", Column::DomainId)];

/// `GET /v3/users`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let domain = domains::asked_for(&ctx, &query)?;
    ctx.authorize(&Target::new().with("domain_id", domain.as_deref().unwrap_or_default()))?;
    let mut select = Entity::find().filter(wanted(&query)?);
    if let Some(domain) = domain {
        select = select.filter(Column::DomainId.eq(domain));
    }
    let page = list::sorted_page(keystone.db.read(), select, Column::Id, SORT, &query, |user: &Model| &user.id).await?;
    let items = page.rows.iter().map(|user| view::user(&keystone, &ctx, user)).collect();
    list::envelope(&ctx, "/users", &query, "users", items, page.next)
}

/// `GET /v3/users/{user_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let user = known(&keystone, &ctx, &id).await?;
    Reply::ok(&json!({"user": view::user(&keystone, &ctx, &user)}))
}

/// `POST /v3/users`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = domains::fields_of_new(&ctx, body, "user")?;
    let named = fields.text("domain_id")?.flatten();
    // a domain's manager has to say that it is that domain
    ctx.authorize(&Target::new().with("domain_id", named.as_deref().unwrap_or_default()))?;
    let domain_id = domains::of_new(&ctx, named)?;
    let name = fields.name("name", 255)?.ok_or_else(|| Error::bad_request("'name' is a required property"))?;
    let password = fields.text("password")?.flatten();
    let user = Model {
        default_project_id: fields.text("default_project_id")?.flatten(),
        enabled: fields.flag("enabled")?.unwrap_or(true),
        options: checked(fields.object("options")?, &Extra::default())?,
        extra: fields.extra(),
        ..Model::new(ids::hex(), name, domain_id)
    };
    let user = match hash(&keystone, password.as_deref()).await? {
        Some(hash) => keystone.config.security.given(user, hash),
        None => user,
    };
    let user = keystone
        .write(move |tx| {
            Box::pin(async move {
                projects::store::domain(tx, &user.domain_id).await?;
                no_domain(tx, user.default_project_id.as_deref()).await?;
                store::insert(tx, user).await
            })
        })
        .await?;
    Reply::created(&json!({"user": view::user(&keystone, &ctx, &user)}))
}

/// `PATCH /v3/users/{user_id}`: a new password, and disabling, make the user's tokens void.
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let user = known(&keystone, &ctx, &id).await?;
    let mut fields = Fields::of(body, "user")?;
    fields.same("domain_id", &user.domain_id)?;
    let password = fields.text("password")?.flatten();
    let name = fields.name("name", 255)?.unwrap_or_else(|| user.name.clone());
    let security = &keystone.config.security;
    let sent_enabled = fields.flag("enabled")?;
    let enabled = sent_enabled.unwrap_or(user.enabled);
    let default_project_id = fields.text("default_project_id")?.unwrap_or_else(|| user.default_project_id.clone());
    let options = checked(fields.object("options")?, &user.options)?;
    let tokens_valid_from = if enabled { user.tokens_valid_from } else { Timestamp::now() };
    // enabling forgives wrong passwords
    let failed_logins = if enabled && !user.enabled { 0 } else { user.failed_logins };
    let last_active_at = if sent_enabled == Some(true) { Timestamp::now() } else { user.last_active_at };
    let extra = fields.extra_over(&user.extra);
    let user = Model { last_active_at, name, enabled, default_project_id, options, tokens_valid_from, failed_logins, extra, ..user };
    let user = match hash(&keystone, password.as_deref()).await? {
        Some(hash) => security.given(user, hash),
        None => user,
    };
    let user = keystone
        .write(move |tx| {
            Box::pin(async move {
                no_domain(tx, user.default_project_id.as_deref()).await?;
                store::update(tx, user).await
            })
        })
        .await?;
    Reply::ok(&json!({"user": view::user(&keystone, &ctx, &user)}))
}

/// `DELETE /v3/users/{user_id}`
pub async fn delete(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    known(&keystone, &ctx, &id).await?;
    keystone.write(move |tx| Box::pin(async move { store::delete(tx, &[id]).await })).await?;
    Reply::no_content()
}

/// `POST /v3/users/{user_id}/password`: who knows the old password may set a new one; no token is needed, and the old one may have expired.
pub async fn change_password(keystone: Keystone, _: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "user")?;
    let (original, password) = (fields.required("original_password")?, fields.required("password")?);
    let who = tokens::auth::Reference { id: Some(id), ..Default::default() };
    let user = tokens::auth::methods::knows_password(&keystone, &who, &original).await?;
    let security = &keystone.config.security;
    security.check_form(keystone.password_pattern.as_deref(), &password)?;
    security.check_choice(&keystone.passwords, &user, &password).await?;
    let user = security.chosen(user, keystone.passwords.hash(&password).await?);
    keystone.write(move |tx| Box::pin(store::update(tx, user))).await?;
    Reply::no_content()
}

/// `GET /v3/users/{user_id}/projects`
pub async fn projects(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    known(&keystone, &ctx, &id).await?;
    let rows = tokens::scopes::projects(keystone.db.read(), &id, true).await?;
    let rows = rows.iter().filter(|row| list::matches(&query, "name", &row.name) && list::is(&query, "enabled", row.enabled));
    let items = rows.map(|row| projects::view::project(&ctx, row)).collect();
    list::whole(&ctx, &format!("/users/{id}/projects"), &query, "projects", items)
}

/// `GET /v3/users/{user_id}/groups`
pub async fn groups(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    known(&keystone, &ctx, &id).await?;
    let rows = groups::store::of_user(keystone.db.read(), &id).await?;
    let own = ctx.identity()?.domain.as_ref().map(|domain| domain.id.as_str());
    let seen = |row: &&groups::Model| own.is_none_or(|own| row.domain_id == own) && list::matches(&query, "name", &row.name);
    let items = rows.iter().filter(seen).map(|row| groups::api::view(&ctx, row)).collect();
    list::whole(&ctx, &format!("/users/{id}/groups"), &query, "groups", items)
}

/// Users as another resource lists them.
pub fn views(keystone: &Keystone, ctx: &Context, users: &[Model]) -> Vec<Value> {
    users.iter().map(|user| view::user(keystone, ctx, user)).collect()
}

/// What a query asks of users, except their domain.
pub fn wanted(query: &Query) -> Result<Condition> {
    let mut condition =
        Condition::all().add(list::by_text(query, "name", Column::Name)).add(list::by_flag(query, "enabled", Column::Enabled));
    if let Some(project) = query.get("default_project_id") {
        condition = condition.add(Column::DefaultProjectId.eq(project));
    }
    if let Some(asked) = query.get("password_expires_at") {
        condition = condition.add(list::by_time(asked, "password_expires_at", Column::PasswordExpiresAt)?);
    }
    // nobody comes from another identity provider
    let federated = ["idp_id", "protocol_id", "unique_id"].iter().any(|key| query.has(key));
    Ok(if federated { condition.add(Column::Id.eq("")) } else { condition })
}

/// A user the caller may know of; to others one that is not theirs and one that does not exist are the same.
pub async fn known(keystone: &Keystone, ctx: &Context, id: &str) -> Result<Model> {
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
        Some(password) => {
            keystone.config.security.check_form(keystone.password_pattern.as_deref(), password)?;
            Ok(Some(keystone.passwords.hash(password).await?))
        }
    }
}

/// A domain can be what a project is, but nobody's default project.
async fn no_domain(db: &impl ConnectionTrait, project_id: Option<&str>) -> Result<()> {
    let Some(id) = project_id else { return Ok(()) };
    match projects::Entity::find_by_id(id).one(db).await? {
        Some(project) if project.is_domain => Err(Error::bad_request(format!("User's default project ID cannot be a domain ID: {id}"))),
        // one that does not exist is passed over at login
        Some(_) | None => Ok(()),
    }
}

/// Options of a user: flags, except the rules for several methods of login.
fn checked(sent: Option<Map<String, Value>>, current: &Extra) -> Result<Extra> {
    let is_rule = |rule: &Value| rule.as_array().is_some_and(|methods| !methods.is_empty() && methods.iter().all(Value::is_string));
    for (key, value) in sent.iter().flatten() {
        let fits = match key.as_str() {
            "multi_factor_auth_rules" => value.is_null() || value.as_array().is_some_and(|rules| rules.iter().all(is_rule)),
            _ => value.is_null() || value.is_boolean(),
        };
        if !fits {
            return Err(Error::bad_request(format!("Invalid input for field 'options/{key}': {value} is not of the right type")));
        }
    }
    options(sent, current, OPTIONS)
}
