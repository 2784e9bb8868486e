//! Changing a group: its names, and which volumes are in it.

use http::StatusCode;
use kit::call::Wrapper;
use kit::clock::Timestamp;
use kit::{Context, Error, Path, Reply, Result, Versioned};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde::Deserialize;

use super::{ActiveModel, Column, Entity, Group, Status, api, store};
use crate::Cinder;
use crate::body::{Body, text};
use crate::volumes;

/// `PUT /groups/{id}`; the volumes are ids with commas between.
#[derive(Deserialize, Versioned)]
pub struct UpdateGroup {
    pub name: Option<String>,
    pub description: Option<String>,
    pub add_volumes: Option<String>,
    pub remove_volumes: Option<String>,
}

impl Wrapper for UpdateGroup {
    const KEY: &'static str = "group";
}

pub async fn update(app: Cinder, ctx: Context, Path(id): Path<String>, Body(body): Body<UpdateGroup>) -> Result<Reply> {
    let group = api::find_for(&app, &ctx, &id, ctx.rule).await?;
    let (add, remove) = (listed(body.add_volumes.as_deref()), listed(body.remove_volumes.as_deref()));
    if body.name.is_none() && body.description.is_none() && add.is_empty() && remove.is_empty() {
        return Err(Error::bad_request("Name, description, add_volumes, and remove_volumes can not be all empty in the request body."));
    }
    if group.status != Status::Available {
        return Err(store::invalid(format!("Group status must be available, but current status is: {}.", group.status.text())));
    }
    if let Some(both) = add.iter().find(|id| remove.contains(id)) {
        return Err(Error::bad_request(format!("Invalid volume: Volume {both} is in both add_volumes and remove_volumes.")));
    }
    let mut row = ActiveModel { updated_at: Set(Some(Timestamp::now())), ..Default::default() };
    if let Some(name) = text("name", body.name)? {
        row.name = Set(Some(name));
    }
    if let Some(description) = text("description", body.description)? {
        row.description = Set(Some(description));
    }
    app.db().write(move |tx| Box::pin(async move { change(tx, group, row, &add, &remove).await })).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// All of it, or nothing.
async fn change(tx: &impl ConnectionTrait, group: Group, row: ActiveModel, add: &[String], remove: &[String]) -> Result<()> {
    for id in add {
        let volume = volumes::store::lock(tx, id).await.map_err(|_| unfit(id, &group, "it could not be found"))?;
        let free = matches!(volume.status, volumes::Status::Available | volumes::Status::InUse);
        let why = match &volume.group_id {
            _ if volume.project_id != group.project_id => Some("it could not be found"),
            Some(own) if *own == group.id => None,
            Some(_) => Some("it is in another group"),
            None if !group.volume_types.0.contains(&volume.type_id) => Some("its type is not one of the group's"),
            None if !free => Some("it is neither available nor in use"),
            None => None,
        };
        if let Some(why) = why {
            return Err(unfit(id, &group, why));
        }
        set_group(tx, id, Some(group.id.clone())).await?;
    }
    for id in remove {
        let inside = volumes::store::find(tx, id).await?.is_some_and(|volume| volume.group_id.as_ref() == Some(&group.id));
        if !inside {
            return Err(Error::bad_request(format!(
                "Invalid volume: Cannot remove volume {id} from group {} because it is not in the group.",
                group.id
            )));
        }
        set_group(tx, id, None).await?;
    }
    Entity::update_many().set(row).filter(Column::Id.eq(&group.id)).exec(tx).await?;
    Ok(())
}

async fn set_group(tx: &impl ConnectionTrait, volume_id: &str, group_id: Option<String>) -> Result<()> {
    let row = volumes::ActiveModel { group_id: Set(group_id), ..Default::default() };
    volumes::Entity::update_many().set(row).filter(volumes::Column::Id.eq(volume_id)).exec(tx).await?;
    Ok(())
}

fn unfit(id: &str, group: &Group, why: &str) -> Error {
    Error::bad_request(format!("Invalid volume: Cannot add volume {id} to group {} because {why}.", group.id))
}

fn listed(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
}
