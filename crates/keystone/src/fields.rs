//! The object of a request body, read attribute by attribute; what is left over is kept as `extra`, as identity always did.

use kit::{Error, Result};
use serde_json::{Map, Value};

/// Attributes that were sent and not read yet.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

/// Attributes keystone does not know, kept and answered at the top of the object.
pub type Extra = kit::db::Json<Map<String, Value>>;

impl Fields {
    /// The object under `key`.
    pub fn of(body: Value, key: &str) -> Result<Fields> {
        let Value::Object(mut body) = body else {
            return Err(Error::bad_request("The request body is not a JSON object."));
        };
        match body.remove(key) {
            Some(Value::Object(fields)) => Ok(Fields(fields)),
            Some(other) => Err(Error::bad_request(format!("Invalid input for field '{key}': {other} is not of type 'object'"))),
            None => Err(Error::bad_request(format!("'{key}' is a required property"))),
        }
    }

    /// Each object of the list under `key`.
    pub fn each_of(body: Value, key: &str) -> Result<Vec<Fields>> {
        let Value::Object(mut body) = body else {
            return Err(Error::bad_request("The request body is not a JSON object."));
        };
        match body.remove(key) {
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::Object(fields) => Ok(Fields(fields)),
                    other => Err(wrong(key, &other, "object")),
                })
                .collect(),
            Some(other) => Err(wrong(key, &other, "array")),
            None => Err(Error::bad_request(format!("'{key}' is a required property"))),
        }
    }

    /// 400 for attributes that nobody asked for, where such are not kept.
    pub fn none_left(self) -> Result<()> {
        match self.0.keys().next() {
            Some(key) => Err(Error::bad_request(format!("Additional properties are not allowed ('{key}' was unexpected)"))),
            None => Ok(()),
        }
    }

    /// An attribute that must be there and not be empty.
    pub fn required(&mut self, key: &str) -> Result<String> {
        match self.text(key)?.flatten() {
            Some(text) if !text.trim().is_empty() => Ok(text),
            Some(text) => Err(Error::bad_request(format!("Invalid input for field '{key}': '{text}' is too short"))),
            None => Err(Error::bad_request(format!("'{key}' is a required property"))),
        }
    }

    /// A name of at most `longest` characters, if one was sent.
    pub fn name(&mut self, key: &str, longest: usize) -> Result<Option<String>> {
        if !self.0.contains_key(key) {
            return Ok(None);
        }
        let name = self.required(key)?;
        if name.chars().count() > longest {
            return Err(Error::bad_request(format!("Invalid input for field '{key}': '{name}' is too long")));
        }
        Ok(Some(name))
    }

    /// Text, null, or nothing.
    pub fn text(&mut self, key: &str) -> Result<Option<Option<String>>> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(Value::String(text)) => Ok(Some(Some(text))),
            Some(other) => Err(wrong(key, &other, "string")),
        }
    }

    pub fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(key, &other, "boolean")),
        }
    }

    /// An attribute of any type.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    pub fn number(&mut self, key: &str) -> Result<Option<i64>> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| wrong(key, &value, "integer")),
        }
    }

    pub fn object(&mut self, key: &str) -> Result<Option<Map<String, Value>>> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(wrong(key, &other, "object")),
        }
    }

    pub fn list(&mut self, key: &str) -> Result<Option<Vec<Value>>> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(wrong(key, &other, "array")),
        }
    }

    /// 400 when an attribute is to be changed that cannot be.
    pub fn same(&mut self, key: &str, current: &str) -> Result<()> {
        match self.text(key)?.flatten() {
            Some(wanted) if wanted != current => Err(Error::bad_request(format!("Invalid input for field '{key}': it cannot be changed"))),
            Some(_) | None => Ok(()),
        }
    }

    /// All that is left. `id` and `links` are ours to say, so they are dropped.
    pub fn extra(mut self) -> Extra {
        self.0.remove("id");
        self.0.remove("links");
        kit::db::Json(self.0)
    }

    /// What is left over, on top of what there was; null takes an attribute away.
    pub fn extra_over(self, current: &Extra) -> Extra {
        let kit::db::Json(changes) = self.extra();
        let mut merged = current.0.clone();
        for (key, value) in changes {
            if value.is_null() {
                merged.remove(&key);
            } else {
                merged.insert(key, value);
            }
        }
        kit::db::Json(merged)
    }
}

/// Resource options: the known ones are kept, null takes one away, others are refused.
pub fn options(sent: Option<Map<String, Value>>, current: &Extra, known: &[&str]) -> Result<Extra> {
    let mut merged = current.0.clone();
    for (key, value) in sent.unwrap_or_default() {
        if !known.contains(&key.as_str()) {
            return Err(Error::bad_request(format!("Invalid input for field 'options': '{key}' was unexpected")));
        }
        if value.is_null() {
            merged.remove(&key);
        } else {
            merged.insert(key, value);
        }
    }
    Ok(kit::db::Json(merged))
}

fn wrong(key: &str, value: &Value, wanted: &str) -> Error {
    Error::bad_request(format!("Invalid input for field '{key}': {value} is not of type '{wanted}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_nobody_asked_for_is_extra() {
        let mut fields = Fields::of(json!({"user": {"name": "ann", "email": "a@b", "id": "mine"}}), "user").unwrap();
        assert_eq!(fields.required("name").unwrap(), "ann");
        assert_eq!(Value::Object(fields.extra().0), json!({"email": "a@b"}));
    }

    #[test]
    fn wrong_shapes_are_refused() {
        assert!(Fields::of(json!([]), "user").is_err());
        assert!(Fields::of(json!({"user": 1}), "user").is_err());
        let mut fields = Fields::of(json!({"user": {"name": "", "enabled": "yes"}}), "user").unwrap();
        assert!(fields.required("name").is_err());
        assert!(fields.flag("enabled").is_err());
    }
}
