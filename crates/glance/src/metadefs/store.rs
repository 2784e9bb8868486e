//! The queries of metadata definitions.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveEnum, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};
use serde_json::{Map, Value};

use crate::entity::metadef::{ItemKind, association, item, namespace, resource_type};

/// An object, property or tag: its name, and what a client said about it.
#[derive(Clone, Debug)]
pub struct Item {
    pub name: String,
    pub definition: Map<String, Value>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

pub fn item(name: String, definition: Map<String, Value>) -> Item {
    let now = Timestamp::now();
    Item { name, definition, created_at: now, updated_at: now }
}

fn read(row: item::Model) -> Item {
    let definition = serde_json::from_str(&row.definition).unwrap_or_default();
    Item { name: row.name, definition, created_at: row.created_at, updated_at: row.updated_at }
}

/// An item as it is kept.
pub fn row(namespace: &str, kind: ItemKind, item: Item) -> item::Model {
    item::Model {
        namespace: namespace.to_owned(),
        kind,
        name: item.name,
        definition: Value::Object(item.definition).to_string(),
        created_at: item.created_at,
        updated_at: item.updated_at,
    }
}

/// All items of a kind, in the order they were made.
pub async fn items(conn: &impl ConnectionTrait, namespace: &str, kind: ItemKind) -> Result<Vec<Item>> {
    let rows = item::Entity::find().filter(item::Column::Namespace.eq(namespace)).filter(item::Column::Kind.eq(kind));
    let rows = rows.order_by_asc(item::Column::CreatedAt).order_by_asc(item::Column::Name).all(conn).await?;
    Ok(rows.into_iter().map(read).collect())
}

pub async fn fetch(conn: &impl ConnectionTrait, namespace: &str, kind: ItemKind, name: &str) -> Result<Item> {
    let row = item::Entity::find_by_id((namespace.to_owned(), kind, name.to_owned())).one(conn).await?;
    row.map(read).ok_or_else(|| missing(namespace, kind, name))
}

pub async fn insert(tx: &DatabaseTransaction, namespace: &str, kind: ItemKind, item: Item) -> Result<()> {
    let twice = duplicate(namespace, kind, &item.name);
    match item::Entity::insert(row(namespace, kind, item).into_active_model()).exec_without_returning(tx).await {
        Ok(_) => Ok(()),
        Err(error) if kit::db::is_duplicate(&error) => Err(twice),
        Err(error) => Err(error.into()),
    }
}

/// Writes an item anew, perhaps under another name.
pub async fn replace(tx: &DatabaseTransaction, namespace: &str, kind: ItemKind, old: &str, item: Item) -> Result<()> {
    let twice = duplicate(namespace, kind, &item.name);
    let done = item::Entity::update_many()
        .col_expr(item::Column::Name, Expr::val(item.name))
        .col_expr(item::Column::Definition, Expr::val(Value::Object(item.definition).to_string()))
        .col_expr(item::Column::UpdatedAt, Expr::val(item.updated_at.0))
        .filter(item::Column::Namespace.eq(namespace))
        .filter(item::Column::Kind.eq(kind.to_value()))
        .filter(item::Column::Name.eq(old))
        .exec(tx)
        .await;
    match done {
        Ok(done) if done.rows_affected == 1 => Ok(()),
        Ok(_) => Err(missing(namespace, kind, old)),
        Err(error) if kit::db::is_duplicate(&error) => Err(twice),
        Err(error) => Err(error.into()),
    }
}

pub async fn delete(tx: &DatabaseTransaction, namespace: &str, kind: ItemKind, name: &str) -> Result<()> {
    let key = (namespace.to_owned(), kind, name.to_owned());
    if item::Entity::delete_by_id(key).exec(tx).await?.rows_affected == 1 { Ok(()) } else { Err(missing(namespace, kind, name)) }
}

pub async fn delete_all(tx: &DatabaseTransaction, namespace: &str, kind: ItemKind) -> Result<()> {
    let all = item::Entity::delete_many().filter(item::Column::Namespace.eq(namespace)).filter(item::Column::Kind.eq(kind));
    all.exec(tx).await?;
    Ok(())
}

pub async fn insert_namespace(tx: &DatabaseTransaction, row: namespace::Model) -> Result<()> {
    let twice = Error::conflict(format!("The metadata definition namespace={} already exists.", row.namespace));
    match namespace::Entity::insert(row.into_active_model()).exec_without_returning(tx).await {
        Ok(_) => Ok(()),
        Err(error) if kit::db::is_duplicate(&error) => Err(twice),
        Err(error) => Err(error.into()),
    }
}

/// Says that a namespace applies to a type of resources, which becomes known by that.
pub async fn associate(tx: &DatabaseTransaction, row: association::Model) -> Result<()> {
    let once = OnConflict::column(resource_type::Column::Name).do_nothing().to_owned();
    match resource_type::Entity::insert(kind(&row).into_active_model()).on_conflict(once).exec_without_returning(tx).await {
        Ok(_) | Err(sea_orm::DbErr::RecordNotInserted) => {}
        Err(error) => return Err(error.into()),
    }
    let (namespace, kind) = (row.namespace.clone(), row.resource_type.clone());
    match association::Entity::insert(row.into_active_model()).exec_without_returning(tx).await {
        Ok(_) => Ok(()),
        Err(error) if kit::db::is_duplicate(&error) => Err(Error::conflict(format!(
            "The metadata definition resource-type association of resource-type={kind} to namespace={namespace} already exists."
        ))),
        Err(error) => Err(error.into()),
    }
}

/// The type of resources of an association.
pub fn kind(row: &association::Model) -> resource_type::Model {
    resource_type::Model { name: row.resource_type.clone(), created_at: row.created_at, updated_at: row.updated_at }
}

/// What some namespaces apply to.
pub async fn associations(conn: &impl ConnectionTrait, namespaces: &[&str]) -> Result<Vec<association::Model>> {
    let rows = association::Entity::find().filter(association::Column::Namespace.is_in(namespaces.iter().copied()));
    Ok(rows.order_by_asc(association::Column::ResourceType).all(conn).await?)
}

fn missing(namespace: &str, kind: ItemKind, name: &str) -> Error {
    Error::not_found(format!("The metadata definition {} with name={name} was not found in namespace={namespace}.", kind.as_str()))
}

fn duplicate(namespace: &str, kind: ItemKind, name: &str) -> Error {
    Error::conflict(format!("A metadata definition {} with name={name} already exists in namespace={namespace}.", kind.as_str()))
}
