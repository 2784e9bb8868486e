//! `/v3/OS-EP-FILTER/projects/{project_id}/endpoints` and `/v3/OS-EP-FILTER/endpoints/{endpoint_id}/projects`

use kit::call::{Path, Query};
use kit::{Context, Error, Reply, Result};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use super::store;
use crate::{Keystone, endpoints, list, projects, reference};

/// An endpoint chosen for a project.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "project_endpoints")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_id: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET /v3/OS-EP-FILTER/projects/{project_id}/endpoints`: also those that groups bring.
pub async fn endpoints(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let db = keystone.db.read();
    projects::store::fetch(db, &id).await?;
    let all = endpoints::Entity::find().all(db).await?;
    let chosen = store::chosen(db, &all).await?.remove(&id).unwrap_or_default();
    let items = all.iter().filter(|endpoint| chosen.contains(&endpoint.id)).map(|endpoint| endpoints::view(&ctx, endpoint)).collect();
    list::whole(&ctx, &format!("/OS-EP-FILTER/projects/{id}/endpoints"), &query, "endpoints", items)
}

/// `GET /v3/OS-EP-FILTER/endpoints/{endpoint_id}/projects`
pub async fn projects(keystone: Keystone, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let db = keystone.db.read();
    endpoints::fetch(db, &id).await?;
    let ids = Entity::find().filter(Column::EndpointId.eq(&id)).all(db).await?.into_iter().map(|row| row.project_id);
    let rows = list::with_any::<projects::Entity>(db, projects::Column::Id, ids).await?;
    let items = rows.iter().map(|row| projects::view::project(&ctx, row)).collect();
    list::whole(&ctx, &format!("/OS-EP-FILTER/endpoints/{id}/projects"), &query, "projects", items)
}

/// `PUT /v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}`
pub async fn create(keystone: Keystone, _: Context, Path((project_id, endpoint_id)): Path<(String, String)>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                projects::store::fetch(tx, &project_id).await?;
                endpoints::fetch(tx, &endpoint_id).await?;
                reference::changed(tx).await?;
                let there = OnConflict::columns([Column::ProjectId, Column::EndpointId]).do_nothing().to_owned();
                let row = Model { project_id, endpoint_id }.into_active_model();
                Entity::insert(row).on_conflict(there).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}

/// `HEAD` and `GET /v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}`
pub async fn check(keystone: Keystone, _: Context, Path((project_id, endpoint_id)): Path<(String, String)>) -> Result<Reply> {
    let found = Entity::find_by_id((project_id.clone(), endpoint_id.clone())).one(keystone.db.read()).await?;
    if found.is_some() { Reply::no_content() } else { Err(unknown(&project_id, &endpoint_id)) }
}

/// `DELETE /v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}`
pub async fn delete(keystone: Keystone, _: Context, Path((project_id, endpoint_id)): Path<(String, String)>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                reference::changed(tx).await?;
                let gone = Entity::delete_by_id((project_id.clone(), endpoint_id.clone())).exec(tx).await?;
                if gone.rows_affected > 0 { Ok(()) } else { Err(unknown(&project_id, &endpoint_id)) }
            })
        })
        .await?;
    Reply::no_content()
}

fn unknown(project: &str, endpoint: &str) -> Error {
    Error::not_found(format!("Endpoint {endpoint} not found in project {project}"))
}
