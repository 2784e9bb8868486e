//! `/v3/users/{user_id}/OS-OAUTH1/access_tokens`: what a user has granted to programs, and can take back.

use kit::call::{Path, Query};
use kit::clock::Timestamp;
use kit::{Context, Error, Reply, Result};
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use super::signature::Signed;
use super::{is_over, unsealed};
use crate::tokens::auth::Proof;
use crate::tokens::claims::Method;
use crate::{Keystone, fault, list, roles, users};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "access_tokens")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub sealed: String,
    pub consumer_id: String,
    pub project_id: String,
    pub authorizing_user_id: String,
    /// Ids.
    pub roles: kit::db::Json<Vec<String>>,
    pub expires_at: Option<Timestamp>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /v3/users/{user_id}/OS-OAUTH1/access_tokens`
pub async fn list(keystone: Keystone, ctx: Context, Path(user): Path<String>, query: Query) -> Result<Reply> {
    let rows = Entity::find().filter(Column::AuthorizingUserId.eq(&user)).order_by_asc(Column::Id).all(keystone.db.read()).await?;
    let items = rows.iter().map(|row| view(&ctx, row)).collect();
    list::whole(&ctx, &format!("/users/{user}/OS-OAUTH1/access_tokens"), &query, "access_tokens", items)
}

/// `GET .../access_tokens/{access_token_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path((user, id)): Path<(String, String)>) -> Result<Reply> {
    let row = fetch(keystone.db.read(), &user, &id).await?;
    Reply::ok(&json!({"access_token": view(&ctx, &row)}))
}

/// `DELETE .../access_tokens/{access_token_id}`: with it go the tokens that came of it.
pub async fn delete(keystone: Keystone, _: Context, Path((user, id)): Path<(String, String)>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &user, &id).await?;
                Ok(Entity::delete_by_id(id).exec(tx).await.map(drop)?)
            })
        })
        .await?;
    Reply::no_content()
}

/// `GET .../access_tokens/{access_token_id}/roles`
pub async fn list_roles(keystone: Keystone, ctx: Context, Path((user, id)): Path<(String, String)>, query: Query) -> Result<Reply> {
    let row = fetch(keystone.db.read(), &user, &id).await?;
    let reference = keystone.reference.now(&keystone.db).await?;
    let items = row.roles.0.iter().filter_map(|id| reference.role(id)).map(|role| roles::api::view(&ctx, role)).collect();
    list::whole(&ctx, &format!("/users/{user}/OS-OAUTH1/access_tokens/{id}/roles"), &query, "roles", items)
}

/// `GET .../access_tokens/{access_token_id}/roles/{role_id}`
pub async fn show_role(keystone: Keystone, ctx: Context, Path((user, id, role)): Path<(String, String, String)>) -> Result<Reply> {
    let row = fetch(keystone.db.read(), &user, &id).await?;
    let reference = keystone.reference.now(&keystone.db).await?;
    let found = row.roles.0.iter().find(|id| **id == role).and_then(|id| reference.role(id));
    let found = found.ok_or_else(|| fault::could_not_find("role", &role))?;
    Reply::ok(&json!({"role": roles::api::view(&ctx, found)}))
}

/// An access token that holds.
pub async fn standing(db: &impl ConnectionTrait, id: &str) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?.filter(|row| !is_over(row.expires_at)))
}

/// The login of a program that signed its request with an access token: as the user who granted that.
pub async fn prove(keystone: &Keystone, signed: &Signed) -> Result<Proof> {
    let consumer = signed.consumer(keystone).await?;
    let db = keystone.db.read();
    let row = standing(db, signed.need("oauth_token")?).await?.ok_or_else(Error::unauthorized)?;
    signed.check(&unsealed(keystone, &consumer.sealed)?, &unsealed(keystone, &row.sealed)?)?;
    if row.consumer_id != consumer.id {
        return Err(Error::unauthorized());
    }
    let user = users::Entity::find_by_id(&row.authorizing_user_id).one(db).await?.ok_or_else(Error::unauthorized)?;
    let mut proof = Proof::of(user, Method::Oauth1);
    proof.access_token = Some(row);
    Ok(proof)
}

async fn fetch(db: &impl ConnectionTrait, user: &str, id: &str) -> Result<Model> {
    let found = Entity::find_by_id(id).filter(Column::AuthorizingUserId.eq(user)).one(db).await?;
    found.ok_or_else(|| fault::could_not_find("Access Token", id))
}

fn view(ctx: &Context, row: &Model) -> Value {
    let place = list::link(ctx, &format!("/users/{}/OS-OAUTH1/access_tokens/{}", row.authorizing_user_id, row.id));
    json!({
        "id": row.id, "consumer_id": row.consumer_id, "project_id": row.project_id, "authorizing_user_id": row.authorizing_user_id,
        "expires_at": row.expires_at.map(Timestamp::to_micros_z), "links": {"roles": format!("{place}/roles"), "self": place},
    })
}
