//! Who may use flavors that are not public.

use kit::db::is_duplicate;
use kit::microversion::Microversion;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use crate::microversions::FLAVOR_ACCESS_CONFLICT;
use crate::{Nova, quotas, validate};

/// Projects are asked for at keystone.
const PROJECTS_CHECKED: Microversion = Microversion(2, 18);

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
    let mut entries = body.0.into_iter();
    let (Some((action, body)), None) = (entries.next(), entries.next()) else {
        return Err(Error::bad_request("The request body must have exactly one action."));
    };
    let (adding, rule) = match action.as_str() {
        "addTenantAccess" => (true, "os_compute_api:os-flavor-access:add_tenant_access"),
        "removeTenantAccess" => (false, "os_compute_api:os-flavor-access:remove_tenant_access"),
        other => return Err(Error::bad_request(format!("There is no such action: {other}"))),
    };
    ctx.enforce(rule, &Target::new())?;
    let fields = body.as_object().ok_or_else(|| validate::not_a("object", &action, &body))?;
    kit::microversion::only(&action, fields, |key| key == "tenant")?;
    let tenant = body.get("tenant").and_then(Value::as_str).filter(|t| !t.is_empty());
    let missing = || Error::bad_request(format!("Invalid input for field/attribute {action}. 'tenant' is a required property"));
    let tenant = tenant.ok_or_else(missing)?;
    if ctx.speaks(PROJECTS_CHECKED) {
        quotas::check_project(&app, &ctx, tenant).await?;
    }
    let flavor = super::fetch(&app, &ctx, &id.0).await?;
    if adding {
        if flavor.is_public && ctx.speaks(FLAVOR_ACCESS_CONFLICT) {
            return Err(Error::conflict("Can not add access to a public flavor."));
        }
        add(&app, &flavor.id, tenant).await?;
    } else {
        remove(&app, &flavor.id, tenant).await?;
    }
    reply(&app, &flavor.id).await
}

async fn add(app: &Nova, flavor: &str, project: &str) -> Result<()> {
    let row = ActiveModel { flavor_id: Set(flavor.to_owned()), project_id: Set(project.to_owned()) };
    let exists = format!("Flavor access already exists for flavor {flavor} and project {project} combination.");
    app.db
        .write(move |tx| {
            Box::pin(async move {
                match Entity::insert(row).exec_without_returning(tx).await {
                    Err(error) if is_duplicate(&error) => Err(Error::conflict(exists)),
                    outcome => Ok(outcome.map(drop)?),
                }
            })
        })
        .await
}

async fn remove(app: &Nova, flavor: &str, project: &str) -> Result<()> {
    let key = (flavor.to_owned(), project.to_owned());
    let gone = app.db.write(move |tx| Box::pin(async move { Ok(Entity::delete_by_id(key).exec(tx).await?.rows_affected) })).await?;
    if gone == 1 { Ok(()) } else { Err(Error::not_found(format!("Flavor access not found for {flavor} / {project} combination."))) }
}
