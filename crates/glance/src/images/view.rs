//! An image as clients see it: flat, custom properties beside the attributes.

use kit::Context;
use serde_json::{Map, Value, json};

use super::{Image, target};
use crate::Glance;

/// An image, and where it is if the operator lets the caller know.
pub fn view(app: &Glance, ctx: &Context, image: &Image) -> Value {
    let mut view = plain(image);
    let places: Vec<Value> = app.stores.order(&image.locations).into_iter().map(|(store, location)| store.place(location)).collect();
    if app.settings.show_image_direct_url
        && let Some(first) = places.first()
    {
        view.insert("direct_url".into(), first["url"].clone());
    }
    if app.settings.show_multiple_locations && ctx.allows("get_image_location", &target(ctx, &image.row)) {
        view.insert("locations".into(), places.into());
    }
    Value::Object(view)
}

fn plain(image: &Image) -> Map<String, Value> {
    let row = &image.row;
    let own = format!("/v2/images/{}", row.id);
    let mut view: Map<String, Value> = image.properties.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let attributes = [
        ("id", json!(row.id)),
        ("name", json!(row.name)),
        ("status", json!(row.status.as_str())),
        ("visibility", json!(row.visibility.as_str())),
        ("protected", json!(row.protected)),
        ("os_hidden", json!(row.os_hidden)),
        ("owner", json!(row.owner)),
        ("container_format", json!(row.container_format)),
        ("disk_format", json!(row.disk_format)),
        ("min_disk", json!(row.min_disk)),
        ("min_ram", json!(row.min_ram)),
        ("size", json!(row.size)),
        ("virtual_size", json!(row.virtual_size)),
        ("checksum", json!(row.checksum)),
        ("os_hash_algo", json!(row.os_hash_algo)),
        ("os_hash_value", json!(row.os_hash_value)),
        ("created_at", json!(row.created_at.to_seconds_z())),
        ("updated_at", json!(row.updated_at.to_seconds_z())),
        ("tags", json!(image.tags)),
        ("self", json!(own)),
        ("file", json!(format!("{own}/file"))),
        ("schema", json!("/v2/schemas/image")),
    ];
    if !image.locations.is_empty() {
        let stores: Vec<&str> = image.locations.iter().map(|location| location.store.as_str()).collect();
        view.insert("stores".into(), json!(stores.join(",")));
    }
    view.extend(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)));
    view
}
