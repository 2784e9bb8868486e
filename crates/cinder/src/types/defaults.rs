//! `/default-types`: the type of a project's volumes that name none.

use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use serde::Deserialize;
use serde_json::{Value, json};

use super::store;
use crate::Cinder;

/// A row of `default_types`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "default_types")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_id: String,
    pub type_id: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `PUT /default-types/{project_id}`
#[derive(Deserialize)]
pub struct NewDefault {
    default_type: Named,
}

#[derive(Deserialize)]
struct Named {
    volume_type: String,
}

fn view(row: &Model) -> Value {
    json!({"project_id": row.project_id, "volume_type_id": row.type_id})
}

pub async fn list(app: Cinder, _: Context) -> Result<Reply> {
    let rows = Entity::find().all(app.db().read()).await?;
    Reply::ok(&json!({"default_types": rows.iter().map(view).collect::<Vec<_>>()}))
}

pub async fn show(app: Cinder, _: Context, Path(project): Path<String>) -> Result<Reply> {
    let row = Entity::find_by_id(&project).one(app.db().read()).await?;
    let row = row.ok_or_else(|| Error::not_found(format!("Default type for project {project} not found.")))?;
    Reply::ok(&json!({"default_type": view(&row)}))
}

pub async fn set(app: Cinder, ctx: Context, Path(project): Path<String>, Json(body): Json<NewDefault>) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &body.default_type.volume_type).await?;
    let row = Model { project_id: project, type_id: kind.id };
    let insert = ActiveModel { project_id: Set(row.project_id.clone()), type_id: Set(row.type_id.clone()) };
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let again = OnConflict::column(Column::ProjectId).update_column(Column::TypeId).to_owned();
                Entity::insert(insert).on_conflict(again).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::ok(&json!({"default_type": view(&row)}))
}

pub async fn unset(app: Cinder, _: Context, Path(project): Path<String>) -> Result<Reply> {
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::delete_by_id(project).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}
