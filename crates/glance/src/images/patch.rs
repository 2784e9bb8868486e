//! `PATCH`: a subset of JSON patch, in two media types. Pure: an image and operations in, an image out.

use kit::{Error, Result};
use serde_json::Value;

use super::{Image, fields};
use crate::fault::unsupported;

const MEDIA_TYPES: &[&str] = &["application/openstack-images-v2.1-json-patch", "application/openstack-images-v2.0-json-patch"];

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Add(Vec<String>, Value),
    Replace(Vec<String>, Value),
    Remove(Vec<String>),
}

impl Op {
    pub fn path(&self) -> &[String] {
        match self {
            Op::Add(path, _) | Op::Replace(path, _) | Op::Remove(path) => path,
        }
    }
}

/// Reads a patch in the form its media type says.
pub fn read(media_type: &str, body: &[u8]) -> Result<Vec<Op>> {
    let Some(form) = MEDIA_TYPES.iter().position(|known| *known == media_type) else {
        return Err(unsupported(media_type));
    };
    let body: Value = serde_json::from_slice(body).map_err(|_| Error::bad_request("Malformed JSON in request body."))?;
    let Value::Array(list) = body else { return Err(Error::bad_request("Request body must be a JSON array of operation objects.")) };
    list.iter().map(|change| if form == 0 { read_op(change) } else { read_old_op(change) }).collect()
}

/// `{"op": "replace", "path": "/name", "value": "x"}`
fn read_op(change: &Value) -> Result<Op> {
    let text = |key: &str| change.get(key).and_then(Value::as_str);
    let op = text("op").ok_or_else(|| Error::bad_request("Operations must contain an \"op\" member."))?;
    let path = text("path").ok_or_else(|| Error::bad_request("Operations must contain a \"path\" member."))?;
    build(op, path, change)
}

/// `{"replace": "/name", "value": "x"}`
fn read_old_op(change: &Value) -> Result<Op> {
    let mut found = ["add", "replace", "remove"].iter().filter_map(|op| Some((*op, change.get(op)?.as_str()?)));
    let (Some((op, path)), None) = (found.next(), found.next()) else {
        return Err(Error::bad_request("Operation objects must contain only one member named \"add\", \"remove\", or \"replace\"."));
    };
    build(op, path, change)
}

fn build(op: &str, path: &str, change: &Value) -> Result<Op> {
    let path = pointer(path)?;
    let none = || Error::bad_request(format!("Operation \"{op}\" requires a member named \"value\"."));
    let value = || change.get("value").cloned().ok_or_else(none);
    match op {
        "add" => Ok(Op::Add(path, value()?)),
        "replace" => Ok(Op::Replace(path, value()?)),
        "remove" => Ok(Op::Remove(path)),
        _ => Err(Error::bad_request(format!("Invalid operation: `{op}`. It must be one of the following: add, remove, replace."))),
    }
}

/// `/name` as its parts, `~1` and `~0` undone.
fn pointer(path: &str) -> Result<Vec<String>> {
    let bad = || Error::bad_request(format!("Invalid JSON pointer for this resource: '{path}'"));
    let rest = path.strip_prefix('/').ok_or_else(bad)?;
    if rest.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
        return Err(Error::bad_request(format!("Pointer `{path}` contains \"~\" not part of a recognized escape sequence.")));
    }
    let parts: Vec<String> = rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let deep = parts.len() > 1 && parts.first().is_none_or(|first| first != "locations");
    if deep || parts.iter().any(|part| part.trim().is_empty()) { Err(bad()) } else { Ok(parts) }
}

/// Applies all changes, or says which cannot be.
pub fn apply(mut image: Image, changes: &[Op]) -> Result<Image> {
    for change in changes {
        let [key, ..] = change.path() else { continue };
        if key == "id" {
            return Err(Error::forbidden("Attribute 'id' is read-only."));
        }
        fields::check_writable(key)?;
        let absent = || Error::conflict(format!("Property {key} does not exist."));
        match change {
            Op::Add(_, value) => fields::set(&mut image, key, value)?,
            Op::Replace(..) if !fields::is_base(key) && !image.properties.contains_key(key) => return Err(absent()),
            Op::Replace(_, value) => fields::set(&mut image, key, value)?,
            Op::Remove(_) if fields::is_base(key) => return Err(Error::forbidden(format!("Property {key} may not be removed."))),
            Op::Remove(_) => {
                image.properties.remove(key).ok_or_else(absent)?;
            }
        }
    }
    fields::check_quota(&image)?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use kit::Kind;

    use super::*;

    fn patch(text: &str) -> Result<Image> {
        let mut image = Image::new("i".into(), "p".into());
        image.properties.insert("hw_disk_bus".into(), "virtio".into());
        apply(image, &read(MEDIA_TYPES[0], text.as_bytes())?)
    }

    fn kind(text: &str) -> Kind {
        patch(text).unwrap_err().kind
    }

    #[test]
    fn changes_attributes_and_properties() {
        let image = patch(
            r#"[{"op": "replace", "path": "/name", "value": "x"}, {"op": "add", "path": "/a~1b.c", "value": "1"},
                {"op": "remove", "path": "/hw_disk_bus"}, {"op": "replace", "path": "/tags", "value": ["t"]}]"#,
        )
        .unwrap();
        assert_eq!(image.row.name.as_deref(), Some("x"));
        assert_eq!(image.properties.into_iter().collect::<Vec<_>>(), [("a/b.c".to_owned(), "1".to_owned())]);
        assert!(image.tags.contains("t"));
        let old = read(MEDIA_TYPES[1], br#"[{"replace": "/name", "value": "y"}]"#).unwrap();
        assert_eq!(old, [Op::Replace(vec!["name".into()], "y".into())]);
    }

    #[test]
    fn refuses_what_cannot_be() {
        assert_eq!(kind(r#"[{"op": "replace", "path": "/nope", "value": "x"}]"#), Kind::Conflict);
        assert_eq!(kind(r#"[{"op": "remove", "path": "/nope"}]"#), Kind::Conflict);
        assert_eq!(kind(r#"[{"op": "remove", "path": "/name"}]"#), Kind::Forbidden);
        assert_eq!(kind(r#"[{"op": "replace", "path": "/status", "value": "active"}]"#), Kind::Forbidden);
        assert_eq!(kind(r#"[{"op": "replace", "path": "/min_ram", "value": "x"}]"#), Kind::BadRequest);
        assert_eq!(kind(r#"[{"op": "add", "path": "/a/b", "value": "x"}]"#), Kind::BadRequest);
        assert_eq!(kind(r#"[{"op": "add", "path": "/tags/-", "value": "x"}]"#), Kind::BadRequest);
        assert_eq!(kind(r#"[{"op": "add", "path": "/a~2b", "value": "x"}]"#), Kind::BadRequest);
        let twice = read(MEDIA_TYPES[1], br#"[{"add": "/name", "replace": "/name", "value": "x"}]"#);
        assert_eq!(twice.unwrap_err().kind, Kind::BadRequest);
        assert_eq!(kind(r#"{"op": "add"}"#), Kind::BadRequest);
        assert_eq!(read("application/json", b"[]").unwrap_err().kind, Kind::UnsupportedMediaType);
    }
}
