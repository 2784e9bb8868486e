//! `/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols`: how an identity provider speaks, and which mapping reads that.

use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use super::{chosen_id, identity_providers, mappings, taken};
use crate::fields::Fields;
use crate::{Keystone, list};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "federation_protocols")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub idp_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub mapping_id: String,
    /// The variable in which the front end says who vouches.
    pub remote_id_attribute: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// `GET .../protocols`
pub async fn list(keystone: Keystone, ctx: Context, Path(idp): Path<String>, query: Query) -> Result<Reply> {
    let db = keystone.db.read();
    identity_providers::fetch(db, &idp).await?;
    let page = list::page(db, Entity::find().filter(Column::IdpId.eq(&idp)), Column::Id, &query, |row: &Model| &row.id).await?;
    let items = page.rows.iter().map(|row| view(&ctx, row)).collect();
    list::envelope(&ctx, &format!("/OS-FEDERATION/identity_providers/{idp}/protocols"), &query, "protocols", items, page.next)
}

/// `GET .../protocols/{protocol_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path((idp, id)): Path<(String, String)>) -> Result<Reply> {
    let protocol = fetch(keystone.db.read(), &idp, &id).await?;
    Reply::ok(&json!({"protocol": view(&ctx, &protocol)}))
}

/// `PUT .../protocols/{protocol_id}`
pub async fn create(keystone: Keystone, ctx: Context, Path((idp, id)): Path<(String, String)>, Json(body): Json<Value>) -> Result<Reply> {
    chosen_id(&id)?;
    let mut fields = Fields::of(body, "protocol")?;
    let mapping_id = fields.required("mapping_id")?;
    let protocol = Model { idp_id: idp, id, mapping_id, remote_id_attribute: fields.text("remote_id_attribute")?.flatten() };
    fields.none_left()?;
    let protocol = keystone
        .write(move |tx| {
            Box::pin(async move {
                identity_providers::fetch(tx, &protocol.idp_id).await?;
                mapped(tx, &protocol.mapping_id).await?;
                let id = protocol.id.clone();
                protocol.into_active_model().insert(tx).await.map_err(|error| taken(error, "federation_protocol", &id))
            })
        })
        .await?;
    Reply::created(&json!({"protocol": view(&ctx, &protocol)}))
}

/// `PATCH .../protocols/{protocol_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path((idp, id)): Path<(String, String)>, Json(body): Json<Value>) -> Result<Reply> {
    let old = fetch(keystone.db.read(), &idp, &id).await?;
    let mut fields = Fields::of(body, "protocol")?;
    let protocol = Model {
        mapping_id: fields.name("mapping_id", 64)?.unwrap_or_else(|| old.mapping_id.clone()),
        remote_id_attribute: fields.text("remote_id_attribute")?.unwrap_or_else(|| old.remote_id_attribute.clone()),
        ..old
    };
    fields.none_left()?;
    let protocol = keystone
        .write(move |tx| {
            Box::pin(async move {
                mapped(tx, &protocol.mapping_id).await?;
                Ok(protocol.into_active_model().reset_all().update(tx).await?)
            })
        })
        .await?;
    Reply::ok(&json!({"protocol": view(&ctx, &protocol)}))
}

/// `DELETE .../protocols/{protocol_id}`
pub async fn delete(keystone: Keystone, _: Context, Path((idp, id)): Path<(String, String)>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                let protocol = fetch(tx, &idp, &id).await?;
                Ok(protocol.into_active_model().delete(tx).await.map(drop)?)
            })
        })
        .await?;
    Reply::no_content()
}

pub async fn fetch(db: &impl ConnectionTrait, idp: &str, id: &str) -> Result<Model> {
    let found = Entity::find_by_id((idp.to_owned(), id.to_owned())).one(db).await?;
    found.ok_or_else(|| Error::not_found(format!("Could not find federated protocol {id} for Identity Provider: {idp}.")))
}

/// 400 for a mapping that is not there, as it is the body that is wrong.
async fn mapped(db: &impl ConnectionTrait, id: &str) -> Result<()> {
    let as_bad = |error: Error| if error.is_not_found() { Error::bad_request(format!("Invalid mapping id: {id}")) } else { error };
    mappings::fetch(db, id).await.map(drop).map_err(as_bad)
}

fn view(ctx: &Context, protocol: &Model) -> Value {
    let provider = list::link(ctx, &format!("/OS-FEDERATION/identity_providers/{}", protocol.idp_id));
    json!({
        "id": protocol.id, "mapping_id": protocol.mapping_id, "remote_id_attribute": protocol.remote_id_attribute,
        "links": {"self": format!("{provider}/protocols/{}", protocol.id), "identity_provider": provider},
    })
}
