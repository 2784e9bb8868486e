//! Access rules: what an application credential may call. They are kept for their user, so that several credentials can share them:
//! `/v3/users/{user_id}/access_rules`.

use kit::call::{Path, Query};
use kit::context::AccessRule;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, IntoActiveModel, QueryOrder};
use serde_json::{Value, json};

use crate::{Keystone, application_credentials, fault, list};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "access_rules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub user_id: String,
    /// The type of a service in the catalog.
    pub service: String,
    pub path: String,
    pub method: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /v3/users/{user_id}/access_rules`
pub async fn list(keystone: Keystone, ctx: Context, Path(user): Path<String>, query: Query) -> Result<Reply> {
    ctx.authorize(&Target::new().with("user.id", &user))?;
    let mut select = Entity::find().filter(Column::UserId.eq(&user)).order_by_asc(Column::Id);
    for (key, column) in [("service", Column::Service), ("path", Column::Path), ("method", Column::Method)] {
        if let Some(value) = query.get(key) {
            select = select.filter(column.eq(value));
        }
    }
    let rows = select.all(keystone.db.read()).await?;
    list::whole(&ctx, &format!("/users/{user}/access_rules"), &query, "access_rules", rows.iter().map(|row| view(&ctx, row)).collect())
}

/// `GET /v3/users/{user_id}/access_rules/{access_rule_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path((user, id)): Path<(String, String)>) -> Result<Reply> {
    ctx.authorize(&Target::new().with("user.id", &user))?;
    let row = fetch(keystone.db.read(), &user, &id).await?;
    Reply::ok(&json!({"access_rule": view(&ctx, &row)}))
}

/// `DELETE /v3/users/{user_id}/access_rules/{access_rule_id}`: one that no credential has.
pub async fn delete(keystone: Keystone, ctx: Context, Path((user, id)): Path<(String, String)>) -> Result<Reply> {
    ctx.authorize(&Target::new().with("user.id", &user))?;
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &user, &id).await?;
                let credentials = application_credentials::store::of_user(tx, &user).await?;
                let uses = |credential: &application_credentials::Model| {
                    credential.access_rules.iter().flat_map(|rules| &rules.0).any(|rule| rule.id == id)
                };
                if credentials.iter().any(uses) {
                    return Err(fault::refused(&format!("delete access rule {id}: an application credential uses it.")));
                }
                Ok(Entity::delete_by_id(id).exec(tx).await.map(drop)?)
            })
        })
        .await?;
    Reply::no_content()
}

/// The rules that a new credential names: `{"id"}` of one there is, or `{"service", "path", "method"}`.
pub async fn read(db: &impl ConnectionTrait, user: &str, sent: &[Value]) -> Result<Vec<AccessRule>> {
    let known = Entity::find().filter(Column::UserId.eq(user)).all(db).await?;
    let mut rules = Vec::new();
    for one in sent {
        let text = |key: &str| one.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(id) = text("id") {
            let row = known.iter().find(|row| row.id == id).ok_or_else(|| fault::could_not_find("Access Rule", id))?;
            rules.push(rule(row));
            continue;
        }
        let (Some(service), Some(path), Some(method)) = (text("service"), text("path"), text("method")) else {
            return Err(Error::bad_request("Invalid input for field 'access_rules': a rule needs an id, or service, path and method"));
        };
        if !matches!(method, "POST" | "GET" | "HEAD" | "PATCH" | "PUT" | "DELETE") || !path.starts_with('/') {
            return Err(Error::bad_request(format!("Invalid input for field 'access_rules': {one} is no access rule")));
        }
        let same = known.iter().find(|row| (row.service.as_str(), row.path.as_str(), row.method.as_str()) == (service, path, method));
        rules.push(
            same.map_or_else(|| AccessRule { id: ids::hex(), service: service.into(), path: path.into(), method: method.into() }, rule),
        );
    }
    Ok(rules)
}

/// Keeps the rules of a new credential for its user.
pub async fn keep(tx: &DatabaseTransaction, credential: &application_credentials::Model) -> Result<()> {
    for rule in credential.access_rules.iter().flat_map(|rules| &rules.0) {
        let AccessRule { id, service, path, method } = rule.clone();
        let row = Model { id, user_id: credential.user_id.clone(), service, path, method };
        let there = OnConflict::new().do_nothing().to_owned();
        Entity::insert(row.into_active_model()).on_conflict(there).exec_without_returning(tx).await?;
    }
    Ok(())
}

fn rule(row: &Model) -> AccessRule {
    let Model { id, service, path, method, .. } = row.clone();
    AccessRule { id, service, path, method }
}

async fn fetch(db: &impl ConnectionTrait, user: &str, id: &str) -> Result<Model> {
    let found = Entity::find_by_id(id).filter(Column::UserId.eq(user)).one(db).await?;
    found.ok_or_else(|| fault::could_not_find("Access Rule", id))
}

fn view(ctx: &Context, row: &Model) -> Value {
    let place = list::link(ctx, &format!("/users/{}/access_rules/{}", row.user_id, row.id));
    json!({"id": row.id, "service": row.service, "path": row.path, "method": row.method, "links": {"self": place}})
}
