//! `/v3/role_inferences` and `/v3/roles/{prior_role_id}/implies`

use http::StatusCode;
use kit::call::Path;
use kit::{Context, Error, Reply, Result};
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::{Value, json};

use super::{Column, Entity, Model, store};
use crate::{Keystone, fault, list};

/// `GET /v3/role_inferences`
pub async fn list_all(keystone: Keystone, ctx: Context) -> Result<Reply> {
    let reference = keystone.reference.now(&keystone.db).await?;
    let mut inferences = Vec::new();
    for role in Entity::find().order_by_asc(Column::Name).all(keystone.db.read()).await? {
        let implied: Vec<Value> = reference.implied_by(&role.id).iter().filter_map(|id| Some(brief(&ctx, reference.role(id)?))).collect();
        if !implied.is_empty() {
            inferences.push(json!({"prior_role": brief(&ctx, &role), "implies": implied}));
        }
    }
    Reply::ok(&json!({"role_inferences": inferences, "links": {"self": list::link(&ctx, "/role_inferences")}}))
}

/// `GET /v3/roles/{prior_role_id}/implies`
pub async fn list(keystone: Keystone, ctx: Context, Path(prior): Path<String>) -> Result<Reply> {
    let role = store::fetch(keystone.db.read(), &prior).await?;
    let reference = keystone.reference.now(&keystone.db).await?;
    let implied: Vec<Value> = reference.implied_by(&prior).iter().filter_map(|id| Some(brief(&ctx, reference.role(id)?))).collect();
    let place = list::link(&ctx, &format!("/roles/{prior}/implies"));
    Reply::ok(&json!({"role_inference": {"prior_role": brief(&ctx, &role), "implies": implied}, "links": {"self": place}}))
}

/// `GET /v3/roles/{prior_role_id}/implies/{implied_role_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path((prior, implied)): Path<(String, String)>) -> Result<Reply> {
    Reply::ok(&inference(&keystone, &ctx, &prior, &implied).await?)
}

/// `HEAD /v3/roles/{prior_role_id}/implies/{implied_role_id}`
pub async fn check(keystone: Keystone, ctx: Context, Path((prior, implied)): Path<(String, String)>) -> Result<Reply> {
    inference(&keystone, &ctx, &prior, &implied).await?;
    Reply::no_content()
}

/// `PUT /v3/roles/{prior_role_id}/implies/{implied_role_id}`
pub async fn create(keystone: Keystone, ctx: Context, Path((prior, implied)): Path<(String, String)>) -> Result<Reply> {
    if prior == implied {
        return Err(Error::bad_request("A role cannot imply itself."));
    }
    let (first, second) = (prior.clone(), implied.clone());
    keystone
        .write(move |tx| {
            Box::pin(async move {
                let prior = store::fetch(tx, &first).await?;
                let implied = store::fetch(tx, &second).await?;
                // whoever changes what a common role brings along must not come by the highest one
                if implied.domain_id.is_empty() && implied.name == "admin" {
                    return Err(Error::forbidden(format!("{second} cannot be an implied roles")));
                }
                if prior.domain_id.is_empty() && !implied.domain_id.is_empty() {
                    return Err(fault::refused(&format!("imply the domain specific role {second} from the global role {first}.")));
                }
                store::imply(tx, &first, &second).await
            })
        })
        .await?;
    Reply::json(StatusCode::CREATED, &inference(&keystone, &ctx, &prior, &implied).await?)
}

/// `DELETE /v3/roles/{prior_role_id}/implies/{implied_role_id}`
pub async fn delete(keystone: Keystone, _: Context, Path((prior, implied)): Path<(String, String)>) -> Result<Reply> {
    let (first, second) = (prior.clone(), implied.clone());
    let did = keystone.write(move |tx| Box::pin(async move { store::imply_no_more(tx, &first, &second).await })).await?;
    if did { Reply::no_content() } else { Err(unknown(&prior, &implied)) }
}

async fn inference(keystone: &Keystone, ctx: &Context, prior: &str, implied: &str) -> Result<Value> {
    let reference = keystone.reference.now(&keystone.db).await?;
    let implies = reference.implied_by(prior).iter().any(|id| id == implied);
    let (Some(first), Some(second), true) = (reference.role(prior), reference.role(implied), implies) else {
        return Err(unknown(prior, implied));
    };
    let place = list::link(ctx, &format!("/roles/{prior}/implies/{implied}"));
    Ok(json!({"role_inference": {"prior_role": brief(ctx, first), "implies": brief(ctx, second)}, "links": {"self": place}}))
}

fn brief(ctx: &Context, role: &Model) -> Value {
    let link = list::link(ctx, &format!("/roles/{}", role.id));
    json!({"id": role.id, "name": role.name, "description": role.description, "links": {"self": link}})
}

fn unknown(prior: &str, implied: &str) -> Error {
    Error::not_found(format!("Could not find implied role: {prior} implies {implied}."))
}
