//! Who may use a private type: `os-volume-type-access`, and the actions that grant and revoke.

use http::StatusCode;
use kit::{Context, Error, Json, Path, Reply, Result};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use serde_json::{Value, json};

use super::{VolumeType, store};
use crate::Cinder;
use crate::body::no_such_action;

/// A row of `type_access`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "type_access")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub type_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_id: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub async fn list(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let kind = private(&app, &ctx, &id).await?;
    let rows = Entity::find().filter(Column::TypeId.eq(&kind.id)).all(app.db().read()).await?;
    let rows: Vec<Value> = rows.iter().map(|row| json!({"volume_type_id": row.type_id, "project_id": row.project_id})).collect();
    Reply::ok(&json!({"volume_type_access": rows}))
}

/// `addProjectAccess` and `removeProjectAccess`
pub async fn act(app: Cinder, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let project = |action: &Value| {
        let project = action["project"].as_str().filter(|project| !project.is_empty() && project.len() <= 36).map(str::to_owned);
        project.ok_or_else(|| Error::bad_request("Invalid input for field/attribute project. It is not the id of a project."))
    };
    if let Some(action) = body.get("addProjectAccess") {
        ctx.enforce("volume_extension:volume_type_access:addProjectAccess", &kit::policy::Target::new())?;
        return grant(app, ctx, id, project(action)?).await;
    }
    let Some(action) = body.get("removeProjectAccess") else {
        return Err(no_such_action(&body));
    };
    ctx.enforce("volume_extension:volume_type_access:removeProjectAccess", &kit::policy::Target::new())?;
    revoke(app, ctx, id, project(action)?).await
}

async fn grant(app: Cinder, ctx: Context, id: String, project: String) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    if kind.is_public {
        return Err(Error::conflict("Invalid volume type: Type access modification is not applicable to public volume type."));
    }
    let taken = Error::conflict(format!("Volume type access for {} / {project} combination already exists.", kind.id));
    let row = ActiveModel { type_id: sea_orm::Set(kind.id), project_id: sea_orm::Set(project) };
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let key = OnConflict::columns([Column::TypeId, Column::ProjectId]).do_nothing().to_owned();
                match Entity::insert(row).on_conflict(key).exec_without_returning(tx).await? {
                    0 => Err(taken),
                    _ => Ok(()),
                }
            })
        })
        .await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

async fn revoke(app: Cinder, ctx: Context, id: String, project: String) -> Result<Reply> {
    let kind = store::find(app.db().read(), &ctx, &id).await?;
    if kind.is_public {
        return Err(Error::conflict("Invalid volume type: Type access modification is not applicable to public volume type."));
    }
    let missing = Error::not_found(format!("Volume type access not found for {} / {project} combination.", kind.id));
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                match Entity::delete_by_id((kind.id, project)).exec(tx).await?.rows_affected {
                    0 => Err(missing),
                    _ => Ok(()),
                }
            })
        })
        .await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// The type, if it has such a list at all.
async fn private(app: &Cinder, ctx: &Context, id: &str) -> Result<VolumeType> {
    let kind = store::find(app.db().read(), ctx, id).await?;
    if kind.is_public {
        return Err(Error::not_found("Access list not available for public volume types."));
    }
    Ok(kind)
}
