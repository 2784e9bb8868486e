//! A namespace written down whole: as a client may send it, and as the files in `metadefs/` hold those that come with Cumulo. Those are
//! loaded once; one that an administrator changes or deletes stays so.

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::{DatabaseTransaction, EntityTrait, IntoActiveModel};
use serde_json::{Map, Value};

use super::store::{self, Item};
use super::{fields, namespaces, objects, properties, resource_types, tags};
use crate::Glance;
use crate::entity::metadef::{ItemKind, association, default, namespace};

const FILES: &[(&str, &str)] = &[
    ("OS::Compute::GuestHardware", include_str!("../../metadefs/guest-hardware.json")),
    ("OS::Compute::Quota", include_str!("../../metadefs/quota.json")),
    ("OS::OperatingSystem", include_str!("../../metadefs/operating-system.json")),
    ("OS::Glance::Signatures", include_str!("../../metadefs/signatures.json")),
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
    let loaded: Vec<String> = default::Entity::find().all(app.db.read()).await?.into_iter().map(|row| row.namespace).collect();
    for (name, text) in FILES.iter().filter(|(name, _)| !loaded.iter().any(|have| have == name)) {
        let (row, parts) = read(text)?;
        let name = (*name).to_owned();
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    let mark = default::Model { namespace: name };
                    default::Entity::insert(mark.clone().into_active_model()).exec_without_returning(tx).await?;
                    if namespace::Entity::find_by_id(mark.namespace).one(tx).await?.is_none() {
                        parts.insert(tx, row).await?;
                    }
                    Ok(())
                })
            })
            .await?;
    }
    Ok(())
}

fn read(text: &str) -> Result<(namespace::Model, Parts)> {
    let body: Map<String, Value> = serde_json::from_str(text).map_err(Error::internal)?;
    let mut row = namespaces::read(&body, "admin")?;
    row.created_at = Timestamp::now();
    let parts = parts(&body, &row.namespace)?;
    Ok((row, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_what_its_name_says() {
        for (name, text) in FILES {
            let (row, parts) = read(text).unwrap();
            assert_eq!((row.namespace.as_str(), row.visibility.as_str(), row.protected), (*name, "public", true));
            assert!(!parts.items.is_empty() && !parts.associations.is_empty(), "{name}");
        }
    }
}
