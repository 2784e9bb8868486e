//! `/info/stores`: which stores a client may name.

use kit::{Context, Reply, Result};
use serde_json::{Value, json};

use super::Store;
use crate::Glance;

pub async fn list(app: Glance, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"stores": stores(&app, |_| None)}))
}

/// `GET /info/stores/detail`: for services, with what kind of store each is.
pub async fn detail(app: Glance, _: Context) -> Result<Reply> {
    let more = |store: &Store| Some(json!({"type": store.kind(), "weight": 0, "properties": store.properties()}));
    Reply::ok(&json!({"stores": stores(&app, more)}))
}

fn stores(app: &Glance, more: impl Fn(&Store) -> Option<Value>) -> Vec<Value> {
    let default = app.stores.chosen(None).map(|store| store.id.clone()).unwrap_or_default();
    let view = |store: &Store| {
        let mut view = json!({"id": store.id, "description": store.description});
        if let Some(fields) = view.as_object_mut() {
            if store.id == default {
                fields.insert("default".into(), "true".into());
            }
            if store.read_only {
                fields.insert("read-only".into(), "true".into());
            }
            if let Some(Value::Object(more)) = more(store) {
                fields.extend(more);
            }
        }
        view
    };
    app.stores.iter().map(view).collect()
}
