//! Which volume types keep to which QoS specs: a column of the type, written from here.

use http::StatusCode;
use kit::{Context, Error, Path, Query, Reply, Result};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::{Value, json};

use super::fetch;
use crate::Cinder;
use crate::types::{ActiveModel, Column, Entity, VolumeType, store as types};

pub async fn list(app: Cinder, _: Context, Path(id): Path<String>) -> Result<Reply> {
    fetch(app.db().read(), &id).await?;
    let kinds = of(app.db().read(), &id).await?;
    let view = |kind: &VolumeType| json!({"association_type": "volume_type", "name": kind.name, "id": kind.id});
    Reply::ok(&json!({"qos_associations": kinds.iter().map(view).collect::<Vec<Value>>()}))
}

pub async fn associate(app: Cinder, _: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    fetch(app.db().read(), &id).await?;
    let kind = types::fetch(app.db().read(), asked(&query)?).await?;
    if kind.qos_id.as_ref().is_some_and(|other| *other != id) {
        let other = kind.qos_id.unwrap_or_default();
        return Err(Error::bad_request(format!("Type {} is already associated with another qos specs: {other}", kind.id)));
    }
    types::update(&app, &kind.id, ActiveModel { qos_id: Set(Some(id)), ..Default::default() }).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

pub async fn disassociate(app: Cinder, _: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    fetch(app.db().read(), &id).await?;
    let kind = types::fetch(app.db().read(), asked(&query)?).await?;
    if kind.qos_id.as_ref() == Some(&id) {
        types::update(&app, &kind.id, ActiveModel { qos_id: Set(None), ..Default::default() }).await?;
    }
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

pub async fn disassociate_all(app: Cinder, _: Context, Path(id): Path<String>) -> Result<Reply> {
    fetch(app.db().read(), &id).await?;
    app.db().write(move |tx| Box::pin(async move { end_all(tx, &id).await })).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// The types that keep to these specs.
pub async fn of(db: &impl ConnectionTrait, id: &str) -> Result<Vec<VolumeType>> {
    Ok(Entity::find().filter(Column::QosId.eq(id)).all(db).await?)
}

pub async fn end_all(tx: &impl ConnectionTrait, id: &str) -> Result<()> {
    let row = ActiveModel { qos_id: Set(None), ..Default::default() };
    Entity::update_many().set(row).filter(Column::QosId.eq(id)).exec(tx).await?;
    Ok(())
}

fn asked(query: &Query) -> Result<&str> {
    query.get("vol_type_id").ok_or_else(|| Error::bad_request("Volume Type id must not be None."))
}
