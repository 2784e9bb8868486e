//! The schemas of metadata definitions.

use kit::{Context, Error, Path, Reply, Result};
use serde_json::{Value, json};

use super::list_of;
use crate::Glance;

/// `GET /schemas/metadefs/{name}`
pub async fn show(_: Glance, _: Context, name: Path<String>) -> Result<Reply> {
    let schema = match name.0.as_str() {
        "namespace" => namespace(),
        "namespaces" => list_of("namespaces", namespace()),
        "object" => object(),
        "objects" => list_of("objects", object()),
        "property" => property(),
        "properties" => json!({
            "name": "properties",
            "properties": {"properties": {"type": "object", "additionalProperties": property_fields()}},
            "links": [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}, {"rel": "describedby", "href": "{schema}"}],
        }),
        "resource_type" => association(),
        "resource_types" => list_of("resource_type_associations", association()),
        "tag" => tag(),
        "tags" => list_of("tags", tag()),
        other => return Err(Error::not_found(format!("No schema found with name {other}"))),
    };
    Reply::ok(&schema)
}

fn text(what: &str, longest: u32) -> Value {
    json!({"type": "string", "description": what, "maxLength": longest})
}

fn times(mut properties: Value) -> Value {
    if let Some(properties) = properties.as_object_mut() {
        for (key, what) in [("created_at", "Date and time of creation"), ("updated_at", "Date and time of the last modification")] {
            properties.insert(key.into(), json!({"type": "string", "readOnly": true, "format": "date-time", "description": what}));
        }
        for key in ["self", "schema"] {
            properties.insert(key.into(), json!({"type": "string", "readOnly": true}));
        }
    }
    properties
}

fn namespace() -> Value {
    json!({
        "name": "namespace",
        "required": ["namespace"],
        "additionalProperties": false,
        "properties": times(json!({
            "namespace": text("The unique namespace text.", 80),
            "display_name": text("The user friendly name for the namespace. Used by UI if available.", 80),
            "description": text("Provides a user friendly description of the namespace.", 500),
            "visibility": {"type": "string", "enum": ["public", "private"], "description": "Scope of namespace accessibility."},
            "protected": {"type": "boolean", "description": "If true, namespace will not be deletable."},
            "owner": text("Owner of the namespace.", 255),
            "resource_type_associations": {"type": "array", "items": association_fields()},
            "properties": {"type": "object", "additionalProperties": property_fields()},
            "objects": {"type": "array", "items": object_fields()},
            "tags": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        })),
    })
}

fn object_fields() -> Value {
    json!({
        "type": "object",
        "properties": times(json!({
            "name": text("The name of the object.", 80),
            "description": {"type": "string"},
            "required": {"type": "array", "items": {"type": "string"}, "uniqueItems": true},
            "properties": {"type": "object", "additionalProperties": property_fields()},
        })),
    })
}

fn object() -> Value {
    json!({
        "name": "object",
        "required": ["name"],
        "additionalProperties": false,
        "properties": object_fields().get("properties"),
    })
}

fn property_fields() -> Value {
    let size = json!({"type": "integer", "minimum": 0});
    json!({
        "type": "object",
        "required": ["title", "type"],
        "properties": {
            "name": text("Property name", 80),
            "title": {"type": "string"},
            "description": {"type": "string"},
            "operators": {"type": "array", "items": {"type": "string"}},
            "type": {"type": "string", "enum": ["array", "boolean", "integer", "number", "object", "string"]},
            "required": {"type": "array", "items": {"type": "string"}},
            "minimum": {"type": "number"},
            "maximum": {"type": "number"},
            "maxLength": size,
            "minLength": size,
            "pattern": {"type": "string", "format": "regex"},
            "enum": {"type": "array"},
            "readonly": {"type": "boolean"},
            "default": {},
            "items": {"type": "object", "properties": {"type": {"type": "string"}, "enum": {"type": "array"}}},
            "maxItems": size,
            "minItems": size,
            "uniqueItems": {"type": "boolean", "default": false},
            "additionalItems": {"type": "boolean"},
        },
    })
}

fn property() -> Value {
    json!({"name": "property", "required": ["name", "title", "type"], "additionalProperties": false, "properties": property_fields().get("properties")})
}

fn association_fields() -> Value {
    json!({
        "type": "object",
        "properties": times(json!({
            "name": text("Resource type names should be aligned with Heat resource types whenever possible.", 80),
            "prefix": text("Specifies the prefix to use for the given resource type.", 80),
            "properties_target": text("Some resource types allow more than one key / value pair per instance.", 80),
        })),
    })
}

fn association() -> Value {
    json!({"name": "resource_type_association", "required": ["name"], "additionalProperties": false, "properties": association_fields().get("properties")})
}

fn tag() -> Value {
    json!({"name": "tag", "required": ["name"], "additionalProperties": false, "properties": times(json!({"name": text("The name of the tag", 80)}))})
}
