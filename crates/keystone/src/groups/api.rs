//! `/v3/groups`

use http::StatusCode;
use kit::call::{Json, Path, Query};
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::{Column, Entity, Model, store};
use crate::fields::Fields;
use crate::{Keystone, domains, list, projects, users};

/// `GET /v3/groups`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let domain = domains::asked_for(&ctx, &query)?;
    ctx.authorize(&Target::new().with("domain_id", domain.as_deref().unwrap_or_default()))?;
    let mut select = Entity::find().filter(list::by_text(&query, "name", Column::Name));
    if let Some(domain) = domain {
        select = select.filter(Column::DomainId.eq(domain));
    }
    let sort = &[("id", Column::Id), ("name", Column::Name), ("domain_id", Column::DomainId)];
    let page = list::sorted_page(keystone.db.read(), select, Column::Id, sort, &query, |group: &Model| &group.id).await?;
    let items = page.rows.iter().map(|group| view(&ctx, group)).collect();
    list::envelope(&ctx, "/groups", &query, "groups", items, page.next)
}

/// `GET /v3/groups/{group_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let group = known(&keystone, &ctx, &id).await?;
    Reply::ok(&json!({"group": view(&ctx, &group)}))
}

/// `POST /v3/groups`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = domains::fields_of_new(&ctx, body, "group")?;
    let domain_id = domains::of_new(&ctx, fields.text("domain_id")?.flatten())?;
    ctx.authorize(&Target::new().with("domain_id", &domain_id))?;
    let name = fields.name("name", 64)?.ok_or_else(|| Error::bad_request("'name' is a required property"))?;
    let description = fields.text("description")?.flatten().unwrap_or_default();
    let group = Model { id: ids::hex(), name, domain_id, description, extra: fields.extra() };
    let group = keystone
        .write(move |tx| {
            Box::pin(async move {
                projects::store::domain(tx, &group.domain_id).await?;
                store::insert(tx, group).await
            })
        })
        .await?;
    Reply::created(&json!({"group": view(&ctx, &group)}))
}

/// `PATCH /v3/groups/{group_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let group = known(&keystone, &ctx, &id).await?;
    let mut fields = Fields::of(body, "group")?;
    fields.same("domain_id", &group.domain_id)?;
    let name = fields.name("name", 64)?.unwrap_or_else(|| group.name.clone());
    let description = fields.text("description")?.map_or_else(|| group.description.clone(), Option::unwrap_or_default);
    let extra = fields.extra_over(&group.extra);
    let group = Model { name, description, extra, ..group };
    let group = keystone.write(move |tx| Box::pin(store::update(tx, group))).await?;
    Reply::ok(&json!({"group": view(&ctx, &group)}))
}

/// `DELETE /v3/groups/{group_id}`
pub async fn delete(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let group = store::fetch(keystone.db.read(), &id).await?;
    ctx.authorize(&Target::new().with("domain_id", &group.domain_id))?;
    keystone.write(move |tx| Box::pin(async move { store::delete(tx, &[id]).await })).await?;
    Reply::no_content()
}

/// `GET /v3/groups/{group_id}/users`
pub async fn users(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    known(&keystone, &ctx, &id).await?;
    let mut wanted = users::api::wanted(&query)?;
    if let Some(domain) = &ctx.identity()?.domain {
        wanted = wanted.add(users::Column::DomainId.eq(&domain.id));
    }
    let select = store::users(&id).filter(wanted);
    let page = list::page(keystone.db.read(), select, users::Column::Id, &query, |user: &users::Model| &user.id).await?;
    list::envelope(&ctx, &format!("/groups/{id}/users"), &query, "users", users::api::views(&keystone, &ctx, &page.rows), page.next)
}

/// `HEAD /v3/groups/{group_id}/users/{user_id}`
pub async fn check_user(keystone: Keystone, ctx: Context, Path((id, user_id)): Path<(String, String)>) -> Result<Reply> {
    both_known(&keystone, &ctx, &id, &user_id).await?;
    if store::has(keystone.db.read(), &id, &user_id).await? { Reply::no_content() } else { Err(not_in(&id, &user_id)) }
}

/// `PUT /v3/groups/{group_id}/users/{user_id}`
pub async fn add_user(keystone: Keystone, ctx: Context, Path((id, user_id)): Path<(String, String)>) -> Result<Reply> {
    both_known(&keystone, &ctx, &id, &user_id).await?;
    keystone
        .write(move |tx| {
            Box::pin(async move {
                users::store::fetch(tx, &user_id).await?;
                store::add(tx, &id, &user_id).await
            })
        })
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /v3/groups/{group_id}/users/{user_id}`
pub async fn remove_user(keystone: Keystone, ctx: Context, Path((id, user_id)): Path<(String, String)>) -> Result<Reply> {
    both_known(&keystone, &ctx, &id, &user_id).await?;
    keystone
        .write(move |tx| Box::pin(async move { if store::remove(tx, &id, &user_id).await? { Ok(()) } else { Err(not_in(&id, &user_id)) } }))
        .await?;
    Reply::no_content()
}

/// A group as the API shows it.
pub fn view(ctx: &Context, group: &Model) -> Value {
    let known = json!({"id": group.id, "name": group.name, "domain_id": group.domain_id, "description": group.description});
    list::object(ctx, &format!("/groups/{}", group.id), known, &group.extra)
}

async fn known(keystone: &Keystone, ctx: &Context, id: &str) -> Result<Model> {
    let group = store::fetch(keystone.db.read(), id).await;
    let domain = group.as_ref().map(|group| group.domain_id.clone()).unwrap_or_default();
    ctx.authorize(&Target::new().with("domain_id", &domain))?;
    group
}

/// A group and a user the caller may know of: for a domain's people both in that domain.
async fn both_known(keystone: &Keystone, ctx: &Context, id: &str, user_id: &str) -> Result<()> {
    let db = keystone.db.read();
    let (group, user) = (store::fetch(db, id).await, users::store::fetch(db, user_id).await);
    let domain = match (&group, &user) {
        (Ok(group), Ok(user)) if group.domain_id == user.domain_id => group.domain_id.as_str(),
        _ => "",
    };
    ctx.authorize(&Target::new().with("domain_id", domain))?;
    group?;
    user.map(drop)
}

fn not_in(group_id: &str, user_id: &str) -> Error {
    Error::not_found(format!("Could not find user {user_id} in group {group_id}."))
}
