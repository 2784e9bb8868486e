//! OS-ENDPOINT-POLICY: which policy belongs to an endpoint, to a service, or to a service in a region.

use kit::call::{Call, FromCall, Path, Query};
use kit::{Context, Error, Reply, Result};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{Condition, IntoActiveModel};
use serde_json::json;

use super::{fetch, view};
use crate::{Keystone, endpoints, list, regions, services};

/// Empty where it does not matter.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "policy_associations")]
pub struct Model {
    pub policy_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub service_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub region_id: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl FromCall<Keystone> for Model {
    /// `/policies/{id}/OS-ENDPOINT-POLICY/{endpoints/{id} | services/{id}[/regions/{id}]}`
    async fn from_call(call: &mut Call<Keystone>) -> Result<Model> {
        let path = call.parts.uri.path().trim_end_matches('/');
        let words: Vec<&str> = path.trim_start_matches("/v3").split('/').skip(1).collect();
        let (policy, endpoint, service, region) = match words.as_slice() {
            ["policies", policy, _, "endpoints", endpoint] => (*policy, *endpoint, "", ""),
            ["policies", policy, _, "services", service] => (*policy, "", *service, ""),
            ["policies", policy, _, "services", service, "regions", region] => (*policy, "", *service, *region),
            _ => return Err(Error::not_found("The resource could not be found.")),
        };
        let [policy_id, endpoint_id, service_id, region_id] = [policy, endpoint, service, region].map(str::to_owned);
        Ok(Model { policy_id, endpoint_id, service_id, region_id })
    }
}

/// `PUT`: the endpoint or service belongs to this policy now, and to no other.
pub async fn create(keystone: Keystone, _: Context, row: Model) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                known(tx, &row).await?;
                let key = [Column::EndpointId, Column::ServiceId, Column::RegionId];
                let replace = OnConflict::columns(key).update_column(Column::PolicyId).to_owned();
                Entity::insert(row.into_active_model()).on_conflict(replace).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}

/// `GET` and `HEAD`
pub async fn check(keystone: Keystone, _: Context, row: Model) -> Result<Reply> {
    let db = keystone.db.read();
    known(db, &row).await?;
    if Entity::find().filter(same(&row)).one(db).await?.is_some() { Reply::no_content() } else { Err(unknown()) }
}

/// `DELETE`
pub async fn delete(keystone: Keystone, _: Context, row: Model) -> Result<Reply> {
    let gone = keystone
        .write(move |tx| {
            Box::pin(async move {
                known(tx, &row).await?;
                Ok(Entity::delete_many().filter(same(&row)).exec(tx).await?.rows_affected)
            })
        })
        .await?;
    if gone > 0 { Reply::no_content() } else { Err(unknown()) }
}

/// `GET /v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints`: those for which this policy counts.
pub async fn endpoints(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let db = keystone.db.read();
    fetch(db, &id).await?;
    let mut items = Vec::new();
    for endpoint in endpoints::Entity::find().all(db).await? {
        if of_endpoint(db, &endpoint).await?.is_some_and(|row| row.policy_id == id) {
            items.push(endpoints::view(&ctx, &endpoint));
        }
    }
    list::whole(&ctx, &format!("/policies/{id}/OS-ENDPOINT-POLICY/endpoints"), &query, "endpoints", items)
}

/// `GET /v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy`
pub async fn policy(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let db = keystone.db.read();
    let endpoint = endpoints::fetch(db, &id).await?;
    let none = || Error::not_found(format!("No policy is associated with endpoint {id}."));
    let row = of_endpoint(db, &endpoint).await?.ok_or_else(none)?;
    let policy = fetch(db, &row.policy_id).await?;
    Reply::ok(&json!({"policy": view(&ctx, &policy)}))
}

/// The endpoint's own; else its service's in its region, or in the nearest region around that; else its service's.
async fn of_endpoint(db: &impl ConnectionTrait, endpoint: &endpoints::Model) -> Result<Option<Model>> {
    let rows =
        Entity::find().filter(Condition::any().add(Column::EndpointId.eq(&endpoint.id)).add(Column::ServiceId.eq(&endpoint.service_id)));
    let rows = rows.all(db).await?;
    if let Some(own) = rows.iter().find(|row| row.endpoint_id == endpoint.id) {
        return Ok(Some(own.clone()));
    }
    let mut region = endpoint.region_id.clone();
    while let Some(id) = region {
        if let Some(row) = rows.iter().find(|row| row.region_id == id) {
            return Ok(Some(row.clone()));
        }
        region = regions::fetch(db, &id).await?.parent_region_id;
    }
    Ok(rows.into_iter().find(|row| row.region_id.is_empty()))
}

async fn known(db: &impl ConnectionTrait, row: &Model) -> Result<()> {
    fetch(db, &row.policy_id).await?;
    if !row.endpoint_id.is_empty() {
        return endpoints::fetch(db, &row.endpoint_id).await.map(drop);
    }
    services::fetch(db, &row.service_id).await?;
    if row.region_id.is_empty() { Ok(()) } else { regions::fetch(db, &row.region_id).await.map(drop) }
}

fn same(row: &Model) -> Condition {
    Condition::all()
        .add(Column::PolicyId.eq(&row.policy_id))
        .add(Column::EndpointId.eq(&row.endpoint_id))
        .add(Column::ServiceId.eq(&row.service_id))
        .add(Column::RegionId.eq(&row.region_id))
}

fn unknown() -> Error {
    Error::not_found("Could not find policy association.")
}
