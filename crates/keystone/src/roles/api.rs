//! `/v3/roles`

use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::{Column, Entity, Model, store};
use crate::fields::{Extra, Fields, options};
use crate::policy::scope;
use crate::{Keystone, fault, list, projects};

/// `GET /v3/roles`: the global ones, or those of the domain that the query names.
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let rule = if query.has("domain_id") { "identity:list_domain_roles" } else { ctx.rule };
    ctx.enforce(rule, &scope(&ctx))?;
    let select = Entity::find()
        .filter(list::by_text(&query, "name", Column::Name))
        .filter(Column::DomainId.eq(query.get("domain_id").unwrap_or_default()));
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |role: &Model| &role.id).await?;
    let items = page.rows.iter().map(|role| view(&ctx, role)).collect();
    list::envelope(&ctx, "/roles", &query, "roles", items, page.next)
}

/// `GET /v3/roles/{role_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let role = store::fetch(keystone.db.read(), &id).await?;
    let rule = if role.domain_id.is_empty() { ctx.rule } else { "identity:get_domain_role" };
    ctx.enforce(rule, &scope(&ctx).with("role.name", &role.name))?;
    Reply::ok(&json!({"role": view(&ctx, &role)}))
}

/// `POST /v3/roles`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "role")?;
    let role = Model {
        id: ids::hex(),
        name: fields.name("name", 255)?.ok_or_else(|| Error::bad_request("'name' is a required property"))?,
        domain_id: fields.text("domain_id")?.flatten().unwrap_or_default(),
        description: fields.text("description")?.flatten(),
        options: options(fields.object("options")?, &Extra::default(), projects::OPTIONS)?,
        extra: fields.extra(),
    };
    let role = keystone
        .write(move |tx| {
            Box::pin(async move {
                if !role.domain_id.is_empty() {
                    projects::store::domain(tx, &role.domain_id).await?;
                }
                store::insert(tx, role).await
            })
        })
        .await?;
    Reply::created(&json!({"role": view(&ctx, &role)}))
}

/// `PATCH /v3/roles/{role_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let role = store::fetch(keystone.db.read(), &id).await?;
    ctx.authorize(&scope(&ctx))?;
    let mut fields = Fields::of(body, "role")?;
    let sent = fields.object("options")?;
    if is_immutable(&role) && !sent.as_ref().is_some_and(|sent| matches!(sent.get("immutable"), Some(Value::Null | Value::Bool(false)))) {
        return Err(projects::api::immutable("role", &id));
    }
    fields.same("domain_id", &role.domain_id)?;
    let role = Model {
        name: fields.name("name", 255)?.unwrap_or_else(|| role.name.clone()),
        description: fields.text("description")?.unwrap_or_else(|| role.description.clone()),
        options: options(sent, &role.options, projects::OPTIONS)?,
        extra: fields.extra_over(&role.extra),
        ..role
    };
    let role = keystone.write(move |tx| Box::pin(store::update(tx, role))).await?;
    Reply::ok(&json!({"role": view(&ctx, &role)}))
}

/// `DELETE /v3/roles/{role_id}`: nobody has it any more.
pub async fn delete(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let role = store::fetch(keystone.db.read(), &id).await?;
    ctx.authorize(&scope(&ctx))?;
    if is_immutable(&role) {
        return Err(fault::refused(&format!("cannot delete role {id}: it has the option `immutable`.")));
    }
    keystone.write(move |tx| Box::pin(async move { store::delete(tx, &id).await })).await?;
    Reply::no_content()
}

/// A role as the API shows it.
pub fn view(ctx: &Context, role: &Model) -> Value {
    let domain_id = Some(&role.domain_id).filter(|id| !id.is_empty());
    let known =
        json!({"id": role.id, "name": role.name, "domain_id": domain_id, "description": role.description, "options": role.options.0});
    list::object(ctx, &format!("/roles/{}", role.id), known, &role.extra)
}

fn is_immutable(role: &Model) -> bool {
    role.options.0.get("immutable") == Some(&Value::Bool(true))
}
