//! A namespace written down whole: as a client may send it, and as the files in `metadefs/` hold those that come with glance. Those are
//! loaded once; one that an administrator changes or deletes stays so.

use std::collections::BTreeMap;

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel};
use serde_json::{Map, Value};

use super::store::{self, Item};
use super::{fields, namespaces, objects, properties, resource_types, tags};
use crate::Glance;
use crate::entity::metadef::{ItemKind, association, default, item, namespace, resource_type};

/// Lists of namespaces.
const FILES: &[&str] = &[
    include_str!("../../metadefs/cim.json"),
    include_str!("../../metadefs/drivers.json"),
    include_str!("../../metadefs/guests.json"),
    include_str!("../../metadefs/hosts.json"),
    include_str!("../../metadefs/images.json"),
    include_str!("../../metadefs/software.json"),
];

/// What is in a namespace.
pub struct Parts {
    items: Vec<(ItemKind, Item)>,
    pub associations: Vec<association::Model>,
}

/// Reads what a namespace says it has.
pub fn parts(body: &Map<String, Value>, namespace: &str) -> Result<Parts> {
    let mut items = Vec::new();
    for object in fields::list(body, "objects")? {
        items.push((ItemKind::Object, objects::read(object)?));
    }
    match body.get("properties") {
        None | Some(Value::Null) => {}
        Some(Value::Object(all)) => {
            for (name, definition) in all {
                let mut definition = fields::object(definition.clone())?;
                definition.insert("name".into(), name.clone().into());
                items.push((ItemKind::Property, properties::read(definition)?));
            }
        }
        Some(other) => return Err(fields::invalid("properties", &format!("{other} is not of type 'object'"))),
    }
    for tag in fields::list(body, "tags")? {
        items.push((ItemKind::Tag, tags::read(&tag)?));
    }
    let associations = fields::list(body, "resource_type_associations")?;
    let associations = associations.iter().map(|row| resource_types::read(row, namespace)).collect::<Result<_>>()?;
    Ok(Parts { items, associations })
}

impl Parts {
    pub async fn insert(self, tx: &DatabaseTransaction, row: namespace::Model) -> Result<()> {
        let name = row.namespace.clone();
        store::insert_namespace(tx, row).await?;
        for (kind, item) in self.items {
            store::insert(tx, &name, kind, item).await?;
        }
        for association in self.associations {
            store::associate(tx, association).await?;
        }
        Ok(())
    }
}

/// Loads the namespaces that were never loaded here: one query when there are none.
pub async fn load(app: &Glance) -> Result<()> {
    let loaded = default::Entity::find().all(app.db.read()).await?;
    let mut missing = read()?;
    missing.retain(|(row, _)| !loaded.iter().any(|have| have.namespace == row.namespace));
    if missing.is_empty() {
        return Ok(());
    }
    app.db.write(move |tx| Box::pin(insert(tx, missing))).await
}

/// All at once, as there are hundreds of rows. One that somebody else has made is left alone.
async fn insert(tx: &DatabaseTransaction, mut all: Vec<(namespace::Model, Parts)>) -> Result<()> {
    let marks: Vec<_> = all.iter().map(|(row, _)| default::Model { namespace: row.namespace.clone() }.into_active_model()).collect();
    let once = OnConflict::column(default::Column::Namespace).do_nothing().to_owned();
    match default::Entity::insert_many(marks).on_conflict(once).exec_without_returning(tx).await {
        Ok(_) | Err(DbErr::RecordNotInserted) => {}
        Err(error) => return Err(error.into()),
    }
    let made: Vec<String> = namespace::Entity::find().all(tx).await?.into_iter().map(|row| row.namespace).collect();
    all.retain(|(row, _)| !made.contains(&row.namespace));
    let (mut namespaces, mut items, mut kinds, mut associations) = (Vec::new(), Vec::new(), BTreeMap::new(), Vec::new());
    for (row, parts) in all {
        items.extend(parts.items.into_iter().map(|(kind, item)| store::row(&row.namespace, kind, item).into_active_model()));
        for association in parts.associations {
            let kind = store::kind(&association);
            kinds.insert(kind.name.clone(), kind.into_active_model());
            associations.push(association.into_active_model());
        }
        namespaces.push(row.into_active_model());
    }
    if namespaces.is_empty() {
        return Ok(());
    }
    namespace::Entity::insert_many(namespaces).exec_without_returning(tx).await?;
    item::Entity::insert_many(items).exec_without_returning(tx).await?;
    let once = OnConflict::column(resource_type::Column::Name).do_nothing().to_owned();
    match resource_type::Entity::insert_many(kinds.into_values()).on_conflict(once).exec_without_returning(tx).await {
        Ok(_) | Err(DbErr::RecordNotInserted) => {}
        Err(error) => return Err(error.into()),
    }
    association::Entity::insert_many(associations).exec_without_returning(tx).await?;
    Ok(())
}

fn read() -> Result<Vec<(namespace::Model, Parts)>> {
    let mut all = Vec::new();
    for text in FILES {
        let list: Vec<Map<String, Value>> = serde_json::from_str(text).map_err(Error::internal)?;
        for body in list {
            let mut row = namespaces::read(&body, "admin")?;
            row.created_at = Timestamp::now();
            let parts = parts(&body, &row.namespace)?;
            all.push((row, parts));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_namespace_is_whole() {
        let all = read().unwrap();
        for (row, parts) in &all {
            assert!(row.visibility == "public" && row.description.is_some() && !parts.items.is_empty(), "{}", row.namespace);
        }
        let mut names: Vec<&str> = all.iter().map(|(row, _)| row.namespace.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 33);
    }
}
