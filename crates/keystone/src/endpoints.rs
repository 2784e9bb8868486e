//! `/v3/endpoints`: where services answer.

use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, IntoActiveModel};
use serde_json::{Value, json};

use crate::endpoint_filter::projects as project_endpoints;
use crate::fields::{Extra, Fields};
use crate::policies::associations;
use crate::{Keystone, fault, list, reference, regions, services};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "endpoints")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub service_id: String,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    pub region_id: Option<String>,
    /// May hold `$(project_id)s` and its like.
    pub url: String,
    pub enabled: bool,
    pub extra: Extra,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /v3/endpoints`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find().filter(list::by_flag(&query, "enabled", Column::Enabled));
    for (key, column) in [("interface", Column::Interface), ("service_id", Column::ServiceId), ("region_id", Column::RegionId)] {
        if let Some(value) = query.get(key) {
            select = select.filter(column.eq(value));
        }
    }
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |endpoint: &Model| &endpoint.id).await?;
    let items = page.rows.iter().map(|endpoint| view(&ctx, endpoint)).collect();
    list::envelope(&ctx, "/endpoints", &query, "endpoints", items, page.next)
}

/// `GET /v3/endpoints/{endpoint_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let endpoint = fetch(keystone.db.read(), &id).await?;
    Reply::ok(&json!({"endpoint": view(&ctx, &endpoint)}))
}

/// `POST /v3/endpoints`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "endpoint")?;
    let region = Region::read(&mut fields)?;
    let endpoint = Model {
        id: ids::hex(),
        service_id: fields.required("service_id")?,
        interface: interface(fields.required("interface")?)?,
        region_id: region.as_ref().map(|region| region.id.clone()),
        url: url(fields.required("url")?)?,
        enabled: fields.flag("enabled")?.unwrap_or(true),
        extra: fields.extra(),
    };
    let endpoint = keystone
        .write(move |tx| {
            Box::pin(async move {
                prepare(tx, &endpoint, region).await?;
                Ok(endpoint.into_active_model().insert(tx).await?)
            })
        })
        .await?;
    Reply::created(&json!({"endpoint": view(&ctx, &endpoint)}))
}

/// `PATCH /v3/endpoints/{endpoint_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let endpoint = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "endpoint")?;
    let region = Region::read(&mut fields)?;
    let service_id = fields.text("service_id")?.flatten().unwrap_or_else(|| endpoint.service_id.clone());
    let endpoint = Model {
        service_id,
        interface: fields.text("interface")?.flatten().map_or_else(|| Ok(endpoint.interface.clone()), interface)?,
        region_id: region.as_ref().map(|region| region.id.clone()).or_else(|| endpoint.region_id.clone()),
        url: fields.text("url")?.flatten().map_or_else(|| Ok(endpoint.url.clone()), url)?,
        enabled: fields.flag("enabled")?.unwrap_or(endpoint.enabled),
        extra: fields.extra_over(&endpoint.extra),
        ..endpoint
    };
    let endpoint = keystone
        .write(move |tx| {
            Box::pin(async move {
                prepare(tx, &endpoint, region).await?;
                Ok(endpoint.into_active_model().reset_all().update(tx).await?)
            })
        })
        .await?;
    Reply::ok(&json!({"endpoint": view(&ctx, &endpoint)}))
}

/// `DELETE /v3/endpoints/{endpoint_id}`
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &id).await?;
                remove(tx, vec![id]).await?;
                reference::changed(tx).await
            })
        })
        .await?;
    Reply::no_content()
}

/// Removes endpoints with all that names them.
pub async fn remove(tx: &DatabaseTransaction, ids: Vec<String>) -> Result<()> {
    let chosen = project_endpoints::Column::EndpointId.is_in(ids.clone());
    project_endpoints::Entity::delete_many().filter(chosen).exec(tx).await?;
    associations::Entity::delete_many().filter(associations::Column::EndpointId.is_in(ids.clone())).exec(tx).await?;
    Entity::delete_many().filter(Column::Id.is_in(ids)).exec(tx).await?;
    Ok(())
}

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("endpoint", id))
}

/// The region of a body: `region_id` must exist, the older `region` is made when absent.
struct Region {
    id: String,
    make: bool,
}

impl Region {
    fn read(fields: &mut Fields) -> Result<Option<Region>> {
        let old = fields.text("region")?.flatten();
        let new = fields.text("region_id")?.flatten();
        Ok(match (new, old) {
            (Some(id), _) => Some(Region { id, make: false }),
            (None, Some(id)) => Some(Region { id, make: true }),
            (None, None) => None,
        })
    }
}

/// What an endpoint names must exist; 400 rather than 404, as it is the body that is wrong.
async fn prepare(tx: &DatabaseTransaction, endpoint: &Model, region: Option<Region>) -> Result<()> {
    reference::changed(tx).await?;
    let as_bad = |error: Error| if error.is_not_found() { Error::bad_request(error.message) } else { error };
    services::fetch(tx, &endpoint.service_id).await.map_err(as_bad)?;
    let Some(region) = region else { return Ok(()) };
    match regions::fetch(tx, &region.id).await {
        Err(error) if error.is_not_found() && region.make => {
            let made = regions::Model { id: region.id, description: String::new(), parent_region_id: None, extra: Extra::default() };
            regions::insert(tx, made).await.map(drop)
        }
        outcome => outcome.map(drop).map_err(as_bad),
    }
}

fn interface(text: String) -> Result<String> {
    match text.strip_suffix("URL").unwrap_or(&text) {
        known @ ("public" | "internal" | "admin") => Ok(known.to_owned()),
        _ => {
            Err(Error::bad_request(format!("Invalid input for field 'interface': '{text}' is not one of ['admin', 'internal', 'public']")))
        }
    }
}

/// An address whose placeholders are ones that tokens can fill.
fn url(text: String) -> Result<String> {
    let known = ["project_id", "tenant_id", "user_id"];
    let mut rest = text.as_str();
    while let Some(at) = rest.find("$(").into_iter().chain(rest.find("%(")).min() {
        let (name, after) = rest.get(at + 2..).and_then(|rest| rest.split_once(")s")).unwrap_or_default();
        if !known.contains(&name) {
            return Err(Error::bad_request(format!("Malformed endpoint URL ({text}), see ERROR log for details.")));
        }
        rest = after;
    }
    Ok(text)
}

/// An endpoint as the API shows it.
pub fn view(ctx: &Context, endpoint: &Model) -> Value {
    let known = json!({
        "id": endpoint.id, "service_id": endpoint.service_id, "interface": endpoint.interface, "region_id": endpoint.region_id,
        "region": endpoint.region_id, "url": endpoint.url, "enabled": endpoint.enabled,
    });
    list::object(ctx, &format!("/endpoints/{}", endpoint.id), known, &endpoint.extra)
}
