//! `/v3/domains`: containers of users, groups and projects. A domain is a row of [`crate::projects`] with `is_domain`.

use kit::call::{Json, Path, Query};
use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};
use serde_json::{Value, json};

use crate::fields::{Extra, Fields, options};
use crate::policy::scope;
use crate::projects::{self, Column, Entity, Model};
use crate::{DEFAULT_DOMAIN, Keystone, fault, groups, list, reference, roles, users};

/// `GET /v3/domains`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let own = ctx.identity()?.domain.as_ref().map(|domain| domain.id.clone());
    ctx.authorize(&Target::new().with("domain_id", own.as_deref().unwrap_or_default()))?;
    let mut select = Entity::find()
        .filter(Column::IsDomain.eq(true))
        .filter(Column::DomainId.eq(""))
        .filter(list::by_text(&query, "name", Column::Name))
        .filter(list::by_flag(&query, "enabled", Column::Enabled));
    if let Some(own) = own {
        select = select.filter(Column::Id.eq(own));
    }
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |domain: &Model| &domain.id).await?;
    let items = page.rows.iter().map(|domain| view(&ctx, domain)).collect();
    list::envelope(&ctx, "/domains", &query, "domains", items, page.next)
}

/// `GET /v3/domains/{domain_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    ctx.authorize(&Target::new().with("domain_id", &id))?;
    let domain = projects::store::domain(keystone.db.read(), &id).await?;
    Reply::ok(&json!({"domain": view(&ctx, &domain)}))
}

/// `POST /v3/domains`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let domain = new_domain(Fields::of(body, "domain")?)?;
    let domain = keystone.write(move |tx| Box::pin(projects::store::insert(tx, domain))).await?;
    Reply::created(&json!({"domain": view(&ctx, &domain)}))
}

/// `PATCH /v3/domains/{domain_id}`: disabling makes the tokens of its users and projects void.
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let domain = projects::store::domain(keystone.db.read(), &id).await?;
    ctx.authorize(&scope(&ctx))?;
    let domain = projects::api::changed(domain, Fields::of(body, "domain")?)?;
    let domain = keystone.write(move |tx| Box::pin(projects::store::update(tx, domain))).await?;
    Reply::ok(&json!({"domain": view(&ctx, &domain)}))
}

/// `DELETE /v3/domains/{domain_id}`: with all its users, groups and projects, once it is disabled.
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone.write(move |tx| Box::pin(async move { remove(tx, &id).await })).await?;
    Reply::no_content()
}

/// The domain a list is about: the one the query names, else the one the token is scoped to.
pub fn asked_for(ctx: &Context, query: &Query) -> Result<Option<String>> {
    let own = ctx.identity()?.domain.as_ref().map(|domain| domain.id.clone());
    Ok(query.get("domain_id").map(str::to_owned).or(own))
}

/// The domain of a new user, group or project: the one it names, else the one of the token.
pub fn of_new(ctx: &Context, named: Option<String>) -> Result<String> {
    let identity = ctx.identity()?;
    let of_token = || identity.domain.as_ref().map(|d| d.id.clone()).or_else(|| identity.project.as_ref().map(|p| p.domain_id.clone()));
    Ok(named.or_else(of_token).unwrap_or_else(|| DEFAULT_DOMAIN.to_owned()))
}

/// The object of a POST. Who may make nothing in the token's domain learns nothing of its mistakes.
pub fn fields_of_new(ctx: &Context, body: Value, key: &str) -> Result<Fields> {
    Fields::of(body, key).or_else(|mistake| {
        ctx.authorize(&Target::new().with("domain_id", &of_new(ctx, None)?))?;
        Err(mistake)
    })
}

/// The domain that a POST describes.
pub fn new_domain(mut fields: Fields) -> Result<Model> {
    let id = fields.text("explicit_domain_id")?.flatten().unwrap_or_else(ids::hex);
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Error::bad_request(format!("Invalid input for field 'explicit_domain_id': '{id}' is no id")));
    }
    // a domain is in no domain, whatever the client says
    fields.text("domain_id")?;
    fields.text("parent_id")?;
    Ok(Model {
        id,
        name: fields.name("name", 64)?.ok_or_else(|| Error::bad_request("'name' is a required property"))?,
        domain_id: String::new(),
        parent_id: None,
        is_domain: true,
        description: fields.text("description")?.flatten().unwrap_or_default(),
        enabled: fields.flag("enabled")?.unwrap_or(true),
        tokens_valid_from: Timestamp::default(),
        tags: kit::db::Json(projects::tags::checked(&fields.list("tags")?.unwrap_or_default())?),
        options: options(fields.object("options")?, &Extra::default(), projects::OPTIONS)?,
        extra: fields.extra(),
    })
}

/// A domain as the API shows it.
pub fn view(ctx: &Context, domain: &Model) -> Value {
    let known = json!({
        "id": domain.id, "name": domain.name, "description": domain.description, "enabled": domain.enabled, "tags": domain.tags.0,
        "options": domain.options.0,
    });
    list::object(ctx, &format!("/domains/{}", domain.id), known, &domain.extra)
}

/// Removes a domain that is disabled, with its users, groups and projects.
pub async fn remove(tx: &DatabaseTransaction, id: &str) -> Result<()> {
    let domain = projects::store::domain(tx, id).await?;
    if domain.is_immutable() {
        return Err(projects::api::immutable("domain", id));
    }
    if domain.enabled {
        return Err(fault::refused("cannot delete a domain that is enabled, please disable it first."));
    }
    let user_ids: Vec<String> =
        users::Entity::find().select_only().column(users::Column::Id).filter(users::Column::DomainId.eq(id)).into_tuple().all(tx).await?;
    users::store::delete(tx, &user_ids).await?;
    let group_ids: Vec<String> = groups::Entity::find()
        .select_only()
        .column(groups::Column::Id)
        .filter(groups::Column::DomainId.eq(id))
        .into_tuple()
        .all(tx)
        .await?;
    groups::store::delete(tx, &group_ids).await?;
    let mut project_ids: Vec<String> =
        Entity::find().select_only().column(Column::Id).filter(Column::DomainId.eq(id)).into_tuple().all(tx).await?;
    project_ids.push(id.to_owned());
    projects::store::delete(tx, &project_ids).await?;
    roles::store::delete_of_domain(tx, id).await?;
    reference::changed(tx).await
}
