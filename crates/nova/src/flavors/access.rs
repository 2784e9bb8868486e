//! Who may use flavors that are not public.

use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use crate::Nova;
use crate::microversions::FLAVOR_ACCESS_CONFLICT;

/// A row of `flavor_access`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "flavor_access")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub flavor_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_id: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /flavors/{id}/os-flavor-access`
pub async fn list(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let flavor = super::fetch(&app, &ctx, &id.0).await?;
    if flavor.is_public {
        return Err(Error::not_found("Access list not available for public flavors."));
    }
    reply(&app, &flavor.id).await
}

async fn reply(app: &Nova, flavor: &str) -> Result<Reply> {
    let rows = Entity::find().filter(Column::FlavorId.eq(flavor)).all(app.db.read()).await?;
    let rows: Vec<Value> = rows.iter().map(|row| json!({"flavor_id": row.flavor_id, "tenant_id": row.project_id})).collect();
    Reply::ok(&json!({"flavor_access": rows}))
}

/// `POST /flavors/{id}/action`
pub async fn act(app: Nova, ctx: Context, id: Path<String>, body: Json<Map<String, Value>>) -> Result<Reply> {
    let flavor = super::fetch(&app, &ctx, &id.0).await?;
    let mut entries = body.0.into_iter();
    let (Some((action, body)), None) = (entries.next(), entries.next()) else {
        return Err(Error::bad_request("The request body must have exactly one action."));
    };
    let tenant = body.get("tenant").and_then(Value::as_str).filter(|t| !t.is_empty());
    let tenant = tenant.ok_or_else(|| Error::bad_request("Invalid input for field/attribute. 'tenant' is a required property"))?;
    let key = (flavor.id.clone(), tenant.to_owned());
    let has = Entity::find_by_id(key.clone()).one(app.db.read()).await?.is_some();
    match action.as_str() {
        "addTenantAccess" => {
            if flavor.is_public && ctx.speaks(FLAVOR_ACCESS_CONFLICT) {
                return Err(Error::conflict("Can not add access to a public flavor."));
            }
            if has {
                return Err(Error::conflict(format!(
                    "Flavor access already exists for flavor {} and project {tenant} combination.",
                    flavor.id
                )));
            }
            let row = ActiveModel { flavor_id: Set(key.0), project_id: Set(key.1) };
            app.db
                .write(move |tx| {
                    Box::pin(async move {
                        Entity::insert(row).exec_without_returning(tx).await?;
                        Ok(())
                    })
                })
                .await?;
        }
        "removeTenantAccess" => {
            if !has {
                return Err(Error::not_found(format!("Flavor access not found for {} / {tenant} combination.", flavor.id)));
            }
            app.db
                .write(move |tx| {
                    Box::pin(async move {
                        Entity::delete_by_id(key).exec(tx).await?;
                        Ok(())
                    })
                })
                .await?;
        }
        other => return Err(Error::bad_request(format!("There is no such action: {other}"))),
    }
    reply(&app, &flavor.id).await
}
