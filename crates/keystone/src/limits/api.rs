//! `/v3/limits`: exceptions from the defaults, for a project or a domain.

use http::StatusCode;
use kit::call::{Json, Path, Query};
use kit::db::is_duplicate;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect, QueryTrait,
};
use serde_json::{Value, json};

use super::registered::{self, limit_of};
use super::{Column, Entity, Model, or_null};
use crate::fields::Fields;
use crate::{Keystone, fault, list, projects};

/// `GET /v3/limits/model`
pub async fn model(_: Keystone, _: Context) -> Result<Reply> {
    let description = "Limit enforcement and validation does not take project hierarchy into consideration.";
    Reply::ok(&json!({"model": {"name": "flat", "description": description}}))
}

/// `GET /v3/limits`: all for who may see all, else those of the token's project or domain.
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find();
    let columns = [
        ("service_id", Column::ServiceId),
        ("region_id", Column::RegionId),
        ("resource_name", Column::ResourceName),
        ("project_id", Column::ProjectId),
        ("domain_id", Column::DomainId),
    ];
    for (key, column) in columns {
        if let Some(value) = query.get(key) {
            select = select.filter(column.eq(value));
        }
    }
    let identity = ctx.identity()?;
    if !ctx.allows("identity:list_all_limits", &Target::new()) {
        select = match (&identity.project, &identity.domain) {
            (Some(project), _) => select.filter(Column::ProjectId.eq(&project.id)),
            (None, Some(domain)) => {
                let inside = projects::Entity::find().select_only().column(projects::Column::Id);
                let inside = inside.filter(projects::Column::DomainId.eq(&domain.id)).into_query();
                select.filter(Condition::any().add(Column::DomainId.eq(&domain.id)).add(Column::ProjectId.in_subquery(inside)))
            }
            (None, None) => select.filter(Column::Id.eq("")),
        };
    }
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |limit: &Model| &limit.id).await?;
    let items = page.rows.iter().map(|limit| view(&ctx, limit)).collect();
    list::envelope(&ctx, "/limits", &query, "limits", items, page.next)
}

/// `GET /v3/limits/{limit_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let limit = fetch(keystone.db.read(), &id).await;
    let target = match &limit {
        Ok(limit) => {
            let project = projects::Entity::find_by_id(&limit.project_id).one(keystone.db.read()).await?;
            let domain = project.map_or_else(|| limit.domain_id.clone(), |project| project.domain_id);
            Target::new().with("project.id", &limit.project_id).with("domain_id", &domain)
        }
        Err(_) => Target::new(),
    };
    ctx.authorize(&target)?;
    Reply::ok(&json!({"limit": view(&ctx, &limit?)}))
}

/// `POST /v3/limits`: all of a list, or none; each for a resource that has a default.
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let rows = Fields::each_of(body, "limits")?.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    let rows = keystone
        .write(move |tx| {
            Box::pin(async move {
                let mut made = Vec::new();
                for row in rows {
                    check(tx, &row).await?;
                    made.push(row.into_active_model().insert(tx).await.map_err(taken)?);
                }
                Ok(made)
            })
        })
        .await?;
    let items: Vec<Value> = rows.iter().map(|row| view(&ctx, row)).collect();
    let links = json!({"self": list::link(&ctx, "/limits"), "previous": null, "next": null});
    Reply::json(StatusCode::CREATED, &json!({"limits": items, "links": links}))
}

/// `PATCH /v3/limits/{limit_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let limit = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "limit")?;
    let limit = Model {
        resource_limit: limit_of(&mut fields, "resource_limit")?.unwrap_or(limit.resource_limit),
        description: fields.text("description")?.unwrap_or_else(|| limit.description.clone()),
        ..limit
    };
    fields.none_left()?;
    let limit = keystone.write(move |tx| Box::pin(async move { Ok(limit.into_active_model().reset_all().update(tx).await?) })).await?;
    Reply::ok(&json!({"limit": view(&ctx, &limit)}))
}

/// `DELETE /v3/limits/{limit_id}`
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &id).await?;
                Ok(Entity::delete_by_id(id).exec(tx).await.map(drop)?)
            })
        })
        .await?;
    Reply::no_content()
}

fn read(mut fields: Fields) -> Result<Model> {
    let row = Model {
        id: ids::hex(),
        project_id: fields.text("project_id")?.flatten().unwrap_or_default(),
        domain_id: fields.text("domain_id")?.flatten().unwrap_or_default(),
        service_id: fields.required("service_id")?,
        region_id: fields.text("region_id")?.flatten().unwrap_or_default(),
        resource_name: fields.name("resource_name", 255)?.ok_or_else(|| Error::bad_request("'resource_name' is a required property"))?,
        resource_limit: limit_of(&mut fields, "resource_limit")?
            .ok_or_else(|| Error::bad_request("'resource_limit' is a required property"))?,
        description: fields.text("description")?.flatten(),
    };
    fields.none_left()?;
    if row.project_id.is_empty() == row.domain_id.is_empty() {
        return Err(Error::bad_request("Invalid input for field 'limits': a limit needs either a project_id or a domain_id"));
    }
    Ok(row)
}

async fn check(db: &impl ConnectionTrait, row: &Model) -> Result<()> {
    super::known(db, &row.service_id, &row.region_id).await?;
    let as_bad = |error: Error| if error.is_not_found() { Error::bad_request(error.message) } else { error };
    if row.project_id.is_empty() {
        projects::store::domain(db, &row.domain_id).await.map_err(as_bad)?;
    } else {
        projects::store::fetch(db, &row.project_id).await.map_err(as_bad)?;
    }
    match registered::of(db, &row.service_id, &row.region_id, &row.resource_name).await? {
        Some(_) => Ok(()),
        None => Err(Error::forbidden("Unable to create a limit that has no corresponding registered limit.")),
    }
}

async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("limit for", id))
}

fn taken(error: DbErr) -> Error {
    if is_duplicate(&error) {
        return Error::conflict("Conflict occurred attempting to store limit - Duplicate entry found.");
    }
    error.into()
}

pub fn view(ctx: &Context, row: &Model) -> Value {
    json!({
        "id": row.id, "project_id": or_null(&row.project_id), "domain_id": or_null(&row.domain_id), "service_id": row.service_id,
        "region_id": or_null(&row.region_id), "resource_name": row.resource_name, "resource_limit": row.resource_limit,
        "description": row.description, "links": {"self": list::link(ctx, &format!("/limits/{}", row.id))},
    })
}
