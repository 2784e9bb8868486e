//! `/v3/OS-EP-FILTER/endpoint_groups`: endpoints described by what they have in common, and the projects that see them.

use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use serde_json::{Map, Value, json};

use crate::fields::Fields;
use crate::{Keystone, endpoints, fault, list, projects, reference};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "endpoint_groups")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    /// Attributes of endpoints and the values they must have.
    pub filters: kit::db::Json<Map<String, Value>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The groups chosen for projects.
pub mod members {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "project_endpoint_groups")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub project_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub endpoint_group_id: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl Model {
    /// Whether an endpoint is in the group.
    pub fn has(&self, endpoint: &endpoints::Model) -> bool {
        self.filters.0.iter().all(|(key, value)| match key.as_str() {
            "interface" => *value == endpoint.interface,
            "service_id" => *value == endpoint.service_id,
            "region_id" => value.as_str() == endpoint.region_id.as_deref(),
            "enabled" => *value == endpoint.enabled,
            _ => false,
        })
    }
}

/// `GET /v3/OS-EP-FILTER/endpoint_groups`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let select = Entity::find().filter(list::by_text(&query, "name", Column::Name));
    let page = list::page(keystone.db.read(), select, Column::Id, &query, |group: &Model| &group.id).await?;
    let items = page.rows.iter().map(|group| view(&ctx, group)).collect();
    list::envelope(&ctx, "/OS-EP-FILTER/endpoint_groups", &query, "endpoint_groups", items, page.next)
}

/// `GET` and `HEAD /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let group = fetch(keystone.db.read(), &id).await?;
    Reply::ok(&json!({"endpoint_group": view(&ctx, &group)}))
}

/// `POST /v3/OS-EP-FILTER/endpoint_groups`
pub async fn create(keystone: Keystone, ctx: Context, Json(body): Json<Value>) -> Result<Reply> {
    let mut fields = Fields::of(body, "endpoint_group")?;
    let filters = fields.object("filters")?.ok_or_else(|| Error::bad_request("'filters' is a required property"))?;
    let group = Model {
        id: ids::hex(),
        name: fields.required("name")?,
        description: fields.text("description")?.flatten(),
        filters: kit::db::Json(checked(filters)?),
    };
    let group = keystone.write(move |tx| Box::pin(async move { Ok(group.into_active_model().insert(tx).await?) })).await?;
    Reply::created(&json!({"endpoint_group": view(&ctx, &group)}))
}

/// `PATCH /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let group = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "endpoint_group")?;
    let group = Model {
        name: fields.name("name", 255)?.unwrap_or_else(|| group.name.clone()),
        description: fields.text("description")?.unwrap_or_else(|| group.description.clone()),
        filters: match fields.object("filters")? {
            Some(filters) => kit::db::Json(checked(filters)?),
            None => group.filters.clone(),
        },
        ..group
    };
    let group = keystone
        .write(move |tx| {
            Box::pin(async move {
                reference::changed(tx).await?;
                Ok(group.into_active_model().reset_all().update(tx).await?)
            })
        })
        .await?;
    Reply::ok(&json!({"endpoint_group": view(&ctx, &group)}))
}

/// `DELETE /v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}`
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &id).await?;
                reference::changed(tx).await?;
                members::Entity::delete_many().filter(members::Column::EndpointGroupId.eq(&id)).exec(tx).await?;
                Ok(Entity::delete_by_id(id).exec(tx).await.map(drop)?)
            })
        })
        .await?;
    Reply::no_content()
}

/// `GET .../endpoint_groups/{endpoint_group_id}/endpoints`
pub async fn endpoints(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let db = keystone.db.read();
    let group = fetch(db, &id).await?;
    let all = endpoints::Entity::find().all(db).await?;
    let items = all.iter().filter(|endpoint| group.has(endpoint)).map(|endpoint| endpoints::view(&ctx, endpoint)).collect();
    list::whole(&ctx, &format!("/OS-EP-FILTER/endpoint_groups/{id}/endpoints"), &query, "endpoints", items)
}

/// `GET .../endpoint_groups/{endpoint_group_id}/projects`
pub async fn projects(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let db = keystone.db.read();
    fetch(db, &id).await?;
    let rows = members::Entity::find().filter(members::Column::EndpointGroupId.eq(&id)).all(db).await?;
    let ids = rows.into_iter().map(|row| row.project_id);
    let rows = list::with_any::<projects::Entity>(db, projects::Column::Id, ids).await?;
    let items = rows.iter().map(|row| projects::view::project(&ctx, row)).collect();
    list::whole(&ctx, &format!("/OS-EP-FILTER/endpoint_groups/{id}/projects"), &query, "projects", items)
}

/// `GET /v3/OS-EP-FILTER/projects/{project_id}/endpoint_groups`
pub async fn of_project(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let db = keystone.db.read();
    projects::store::fetch(db, &id).await?;
    let rows = members::Entity::find().filter(members::Column::ProjectId.eq(&id)).all(db).await?;
    let groups = Entity::find().filter(Column::Id.is_in(rows.into_iter().map(|row| row.endpoint_group_id))).all(db).await?;
    let items = groups.iter().map(|group| view(&ctx, group)).collect();
    list::whole(&ctx, &format!("/OS-EP-FILTER/projects/{id}/endpoint_groups"), &query, "endpoint_groups", items)
}

/// `PUT .../endpoint_groups/{endpoint_group_id}/projects/{project_id}`
pub async fn add_project(keystone: Keystone, _: Context, Path((endpoint_group_id, project_id)): Path<(String, String)>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &endpoint_group_id).await?;
                projects::store::fetch(tx, &project_id).await?;
                reference::changed(tx).await?;
                let there = OnConflict::columns([members::Column::ProjectId, members::Column::EndpointGroupId]).do_nothing().to_owned();
                let row = members::Model { project_id, endpoint_group_id }.into_active_model();
                members::Entity::insert(row).on_conflict(there).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}

/// `GET` and `HEAD .../endpoint_groups/{endpoint_group_id}/projects/{project_id}`
pub async fn project(keystone: Keystone, ctx: Context, Path((group, project)): Path<(String, String)>) -> Result<Reply> {
    let db = keystone.db.read();
    members::Entity::find_by_id((project.clone(), group.clone())).one(db).await?.ok_or_else(|| unknown(&group, &project))?;
    let row = projects::store::fetch(db, &project).await?;
    Reply::ok(&json!({"project": projects::view::project(&ctx, &row)}))
}

/// `DELETE .../endpoint_groups/{endpoint_group_id}/projects/{project_id}`
pub async fn remove_project(keystone: Keystone, _: Context, Path((group, project)): Path<(String, String)>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                reference::changed(tx).await?;
                let gone = members::Entity::delete_by_id((project.clone(), group.clone())).exec(tx).await?;
                if gone.rows_affected > 0 { Ok(()) } else { Err(unknown(&group, &project)) }
            })
        })
        .await?;
    Reply::no_content()
}

async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("Endpoint Group", id))
}

fn checked(filters: Map<String, Value>) -> Result<Map<String, Value>> {
    match filters.keys().find(|key| !matches!(key.as_str(), "interface" | "service_id" | "region_id" | "enabled")) {
        Some(key) => Err(Error::bad_request(format!("Invalid input for field 'filters': '{key}' is no attribute of an endpoint"))),
        None => match filters.get("interface").and_then(Value::as_str) {
            Some("public" | "internal" | "admin") | None => Ok(filters),
            Some(other) => Err(Error::bad_request(format!("Invalid input for field 'filters': '{other}' is no interface"))),
        },
    }
}

fn unknown(group: &str, project: &str) -> Error {
    Error::not_found(format!("Endpoint Group Project Association not found: {group} {project}."))
}

fn view(ctx: &Context, group: &Model) -> Value {
    let place = list::link(ctx, &format!("/OS-EP-FILTER/endpoint_groups/{}", group.id));
    json!({
        "id": group.id, "name": group.name, "description": group.description, "filters": group.filters.0, "links": {"self": place},
    })
}
