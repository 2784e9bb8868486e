//! `/v3/OS-FEDERATION/identity_providers`: who vouches for people from elsewhere, each with a domain for them.

use kit::call::{Json, Path, Query};
use kit::{Context, Error, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, IntoActiveModel, QueryOrder};
use serde_json::{Value, json};

use super::{chosen_id, protocols, taken};
use crate::fields::Fields;
use crate::{Keystone, domains, fault, list, projects};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "identity_providers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub enabled: bool,
    pub description: Option<String>,
    pub domain_id: String,
    /// Minutes for which a membership that it told lasts.
    pub authorization_ttl: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The names by which identity providers call themselves.
pub mod remote_ids {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "identity_provider_remote_ids")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub remote_id: String,
        pub idp_id: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `GET /v3/OS-FEDERATION/identity_providers`
pub async fn list(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let db = keystone.db.read();
    let select = Entity::find().filter(list::by_text(&query, "id", Column::Id)).filter(list::by_flag(&query, "enabled", Column::Enabled));
    let page = list::page(db, select, Column::Id, &query, |provider: &Model| &provider.id).await?;
    let ids = page.rows.iter().map(|provider| provider.id.as_str());
    let names = remote_ids::Entity::find().filter(remote_ids::Column::IdpId.is_in(ids)).order_by_asc(remote_ids::Column::RemoteId);
    let names = names.all(db).await?;
    let items = page.rows.iter().map(|provider| view(&ctx, provider, &names)).collect();
    list::envelope(&ctx, "/OS-FEDERATION/identity_providers", &query, "identity_providers", items, page.next)
}

/// `GET /v3/OS-FEDERATION/identity_providers/{idp_id}`
pub async fn show(keystone: Keystone, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let provider = fetch(keystone.db.read(), &id).await?;
    answer(&keystone, &ctx, &provider).await.and_then(|body| Reply::ok(&body))
}

/// `PUT /v3/OS-FEDERATION/identity_providers/{idp_id}`: in a domain that is named, else in one of its own.
pub async fn create(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    chosen_id(&id)?;
    let mut fields = Fields::of(body, "identity_provider")?;
    let named = fields.text("domain_id")?.flatten();
    let provider = Model {
        domain_id: named.clone().unwrap_or_else(ids::hex),
        enabled: fields.flag("enabled")?.unwrap_or(false),
        description: fields.text("description")?.flatten(),
        authorization_ttl: ttl(&mut fields)?.flatten(),
        id,
    };
    let names = remote_names(&mut fields)?.unwrap_or_default();
    fields.none_left()?;
    let provider = keystone
        .write(move |tx| {
            Box::pin(async move {
                match named {
                    Some(domain) => drop(projects::store::domain(tx, &domain).await?),
                    None => drop(projects::store::insert(tx, own_domain(&provider)?).await?),
                }
                let id = provider.id.clone();
                let provider = provider.into_active_model().insert(tx).await.map_err(|error| taken(error, "identity_provider", &id))?;
                set_names(tx, &provider.id, names).await?;
                Ok(provider)
            })
        })
        .await?;
    answer(&keystone, &ctx, &provider).await.and_then(|body| Reply::created(&body))
}

/// `PATCH /v3/OS-FEDERATION/identity_providers/{idp_id}`
pub async fn update(keystone: Keystone, ctx: Context, Path(id): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let old = fetch(keystone.db.read(), &id).await?;
    let mut fields = Fields::of(body, "identity_provider")?;
    let provider = Model {
        enabled: fields.flag("enabled")?.unwrap_or(old.enabled),
        description: fields.text("description")?.unwrap_or_else(|| old.description.clone()),
        authorization_ttl: ttl(&mut fields)?.unwrap_or(old.authorization_ttl),
        ..old
    };
    let names = remote_names(&mut fields)?;
    fields.none_left()?;
    let provider = keystone
        .write(move |tx| {
            Box::pin(async move {
                if let Some(names) = names {
                    set_names(tx, &provider.id, names).await?;
                }
                Ok(provider.into_active_model().reset_all().update(tx).await?)
            })
        })
        .await?;
    answer(&keystone, &ctx, &provider).await.and_then(|body| Reply::ok(&body))
}

/// `DELETE /v3/OS-FEDERATION/identity_providers/{idp_id}`: with its protocols; its domain stays.
pub async fn delete(keystone: Keystone, _: Context, Path(id): Path<String>) -> Result<Reply> {
    keystone
        .write(move |tx| {
            Box::pin(async move {
                fetch(tx, &id).await?;
                remove(tx, vec![id]).await
            })
        })
        .await?;
    Reply::no_content()
}

pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Model> {
    Entity::find_by_id(id).one(db).await?.ok_or_else(|| fault::could_not_find("Identity Provider", id))
}

/// Removes those whose people were in domains that are going.
pub async fn delete_of_domains(tx: &DatabaseTransaction, domain_ids: &[String]) -> Result<()> {
    let rows = Entity::find().filter(Column::DomainId.is_in(domain_ids)).all(tx).await?;
    remove(tx, rows.into_iter().map(|provider| provider.id).collect()).await
}

async fn remove(tx: &DatabaseTransaction, ids: Vec<String>) -> Result<()> {
    protocols::Entity::delete_many().filter(protocols::Column::IdpId.is_in(ids.clone())).exec(tx).await?;
    remote_ids::Entity::delete_many().filter(remote_ids::Column::IdpId.is_in(ids.clone())).exec(tx).await?;
    Entity::delete_many().filter(Column::Id.is_in(ids)).exec(tx).await?;
    Ok(())
}

/// A domain for the people of a provider, named by its own id.
fn own_domain(provider: &Model) -> Result<projects::Model> {
    let description = format!("Auto generated federated domain for Identity Provider: {}", provider.id);
    let domain = json!({"domain": {"explicit_domain_id": provider.domain_id, "name": provider.domain_id, "description": description}});
    domains::new_domain(Fields::of(domain, "domain")?)
}

/// Null for ever.
fn ttl(fields: &mut Fields) -> Result<Option<Option<i64>>> {
    match fields.take("authorization_ttl") {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(value) => match value.as_i64().filter(|minutes| (0..=i64::from(i32::MAX)).contains(minutes)) {
            Some(minutes) => Ok(Some(Some(minutes))),
            None => Err(Error::bad_request(format!("Invalid input for field 'authorization_ttl': {value} is not a number of minutes"))),
        },
    }
}

/// Null for none.
fn remote_names(fields: &mut Fields) -> Result<Option<Vec<String>>> {
    let sent = match fields.take("remote_ids") {
        None => return Ok(None),
        Some(Value::Null) => return Ok(Some(Vec::new())),
        Some(sent) => sent,
    };
    let wrong = || Error::bad_request(format!("Invalid input for field 'remote_ids': {sent} is not a list of different texts"));
    let names: Vec<String> = serde_json::from_value(sent.clone()).map_err(|_| wrong())?;
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    if sorted.len() == names.len() { Ok(Some(names)) } else { Err(wrong()) }
}

async fn set_names(tx: &DatabaseTransaction, id: &str, names: Vec<String>) -> Result<()> {
    remote_ids::Entity::delete_many().filter(remote_ids::Column::IdpId.eq(id)).exec(tx).await?;
    for remote_id in names {
        let row = remote_ids::Model { remote_id: remote_id.clone(), idp_id: id.to_owned() };
        row.into_active_model().insert(tx).await.map_err(|error| match kit::db::is_duplicate(&error) {
            true => Error::conflict(format!("Conflict occurred attempting to store identity_provider - Duplicate remote ID: {remote_id}.")),
            false => error.into(),
        })?;
    }
    Ok(())
}

async fn answer(keystone: &Keystone, ctx: &Context, provider: &Model) -> Result<Value> {
    let names = remote_ids::Entity::find().filter(remote_ids::Column::IdpId.eq(&provider.id));
    let names = names.order_by_asc(remote_ids::Column::RemoteId).all(keystone.db.read()).await?;
    Ok(json!({"identity_provider": view(ctx, provider, &names)}))
}

fn view(ctx: &Context, provider: &Model, names: &[remote_ids::Model]) -> Value {
    let place = list::link(ctx, &format!("/OS-FEDERATION/identity_providers/{}", provider.id));
    let names: Vec<&str> = names.iter().filter(|row| row.idp_id == provider.id).map(|row| row.remote_id.as_str()).collect();
    json!({
        "id": provider.id, "enabled": provider.enabled, "description": provider.description, "remote_ids": names,
        "domain_id": provider.domain_id, "authorization_ttl": provider.authorization_ttl,
        "links": {"self": place, "protocols": format!("{place}/protocols")},
    })
}
