//! JSON as types, with null told from nothing, and what does not fit told by its field in the words of OpenStack's schema validation.
//!
//! Objects have the fields of their struct and, where the caller is strict, no others.
//!
//! A field of the type `Option<T>` may be absent and must not be null; one of the type `Option<Option<T>>` may be null, too. That holds for the
//! fields of structs, however deep; in lists and maps an `Option` is a value that may be null.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use crate::microversion::unexpected;
use crate::{Error, Result};

/// Reads an object that stands under `key` in a body. Who is not strict ignores what it does not know.
pub fn read<T: DeserializeOwned>(key: &str, object: Map<String, Value>, strict: bool) -> Result<T> {
    let value = Value::Object(object);
    T::deserialize(Exact { value: &value, nullable: false, strict }).map_err(|misfit| misfit.at(key, &value).refusal())
}

/// `Invalid input for field/attribute networks. Value: 1. 1 is not of type 'array'`
pub fn invalid(path: &str, value: &Value, reason: impl fmt::Display) -> Error {
    let shown = match value {
        Value::String(text) => text.clone(),
        other => Repr(other).to_string(),
    };
    Error::bad_request(format!("Invalid input for field/attribute {path}. Value: {shown}. {reason}"))
}

/// A value as Python writes it, which is how OpenStack's messages repeat what they refuse.
pub struct Repr<'a>(pub &'a Value);

impl fmt::Display for Repr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("None"),
            Value::Bool(true) => f.write_str("True"),
            Value::Bool(false) => f.write_str("False"),
            Value::Number(number) => write!(f, "{number}"),
            Value::String(text) => write!(f, "'{text}'"),
            Value::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { "" } else { ", " }, Repr(item))?;
                }
                f.write_str("]")
            }
            Value::Object(fields) => {
                f.write_str("{")?;
                for (index, (key, value)) in fields.iter().enumerate() {
                    write!(f, "{}'{key}': {}", if index == 0 { "" } else { ", " }, Repr(value))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// What does not fit, and as soon as it is known, where.
#[derive(Debug)]
struct Misfit {
    place: Option<(String, Value)>,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    /// Another type is wanted.
    Type(&'static str),
    Words(String),
}

impl Misfit {
    /// The innermost place is the one that is told.
    fn at(mut self, path: impl fmt::Display, value: &Value) -> Misfit {
        self.place.get_or_insert_with(|| (path.to_string(), value.clone()));
        self
    }

    fn refusal(self) -> Error {
        let (path, value) = self.place.unwrap_or_default();
        match self.reason {
            Reason::Type(kind) => invalid(&path, &value, format!("{} is not of type '{kind}'", Repr(&value))),
            Reason::Words(words) => invalid(&path, &value, words),
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Type(kind) => write!(f, "it is not of type '{kind}'"),
            Reason::Words(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(words: T) -> Misfit {
        Misfit { place: None, reason: Reason::Words(words.to_string()) }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Misfit {
        let expected = expected.to_string();
        let known = [("string", "string"), ("sequence", "array"), ("map", "object"), ("struct", "object"), ("boolean", "boolean")];
        let kind = known.iter().find(|(word, _)| expected.contains(word)).map_or("integer", |(_, kind)| kind);
        Misfit { place: None, reason: Reason::Type(kind) }
    }

    fn missing_field(field: &'static str) -> Misfit {
        Misfit::custom(format!("'{field}' is a required property"))
    }
}

/// A value to be read.
#[derive(Clone, Copy)]
struct Exact<'a> {
    value: &'a Value,
    /// Null is nothing here: it stands in an `Option` already, or is no field.
    nullable: bool,
    strict: bool,
}

impl<'de> Exact<'de> {
    /// Another value at another place.
    fn with(self, value: &'de Value, nullable: bool) -> Exact<'de> {
        Exact { value, nullable, strict: self.strict }
    }
}

impl<'de> Deserializer<'de> for Exact<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => visitor.visit_i64(number),
                (None, Some(number)) => visitor.visit_u64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter().enumerate(), whole: self }),
            Value::Object(object) => visitor.visit_map(Members { members: object.iter(), value: None, whole: self, fields: None }),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Misfit> {
        // a list is no struct, though serde would take it for one
        let Some(object) = self.value.as_object() else { return Err(Misfit { place: None, reason: Reason::Type("object") }) };
        if self.strict {
            let unknown: Vec<&str> = object.keys().map(String::as_str).filter(|key| !fields.contains(key)).collect();
            unexpected(&unknown).map_err(|error| de::Error::custom(error.message))?;
        }
        visitor.visit_map(Members { members: object.iter(), value: None, whole: self, fields: Some(fields) })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.value.is_null() && self.nullable { visitor.visit_none() } else { visitor.visit_some(self.with(self.value, true)) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.value.deserialize_enum(name, variants, visitor).map_err(de::Error::custom)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    whole: Exact<'a>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        seed.deserialize(self.whole.with(value, true)).map(Some).map_err(|misfit| misfit.at(index, value))
    }
}

struct Members<'a> {
    members: serde_json::map::Iter<'a>,
    value: Option<(&'a str, &'a Value)>,
    whole: Exact<'a>,
    /// Those of the struct it becomes, if it becomes one.
    fields: Option<&'static [&'static str]>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let known = |key: &str| self.fields.is_none_or(|fields| fields.contains(&key));
        let Some((key, value)) = self.members.find(|(key, _)| known(key)) else { return Ok(None) };
        self.value = Some((key, value));
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let (key, value) = self.value.take().unwrap_or(("", &Value::Null));
        seed.deserialize(self.whole.with(value, self.fields.is_none())).map_err(|misfit| misfit.at(key, value))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Body {
        name: Option<String>,
        note: Option<Option<String>>,
        any: Option<Value>,
        groups: Option<Vec<Group>>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Group {
        name: String,
    }

    fn body(value: Value) -> Result<Body, String> {
        read("body", value.as_object().unwrap().clone(), true).map_err(|error| error.message)
    }

    #[test]
    fn null_is_told_from_nothing() {
        assert_eq!(body(json!({})).unwrap(), Body::default());
        assert_eq!(body(json!({"note": null})).unwrap().note, Some(None));
        assert_eq!(body(json!({"note": "n"})).unwrap().note, Some(Some("n".into())));
        assert_eq!(body(json!({"any": null})).unwrap().any, Some(Value::Null));
        let words = "Invalid input for field/attribute name. Value: None. None is not of type 'string'";
        assert_eq!(body(json!({"name": null})).unwrap_err(), words);
    }

    #[test]
    fn the_innermost_place_is_told() {
        for (value, words) in [
            (json!({"groups": 1}), "groups. Value: 1. 1 is not of type 'array'"),
            (json!({"groups": [[]]}), "0. Value: []. [] is not of type 'object'"),
            (json!({"groups": [{"name": "a"}, {}]}), "1. Value: {}. 'name' is a required property"),
            (json!({"groups": [{"name": true}]}), "name. Value: True. True is not of type 'string'"),
            (json!({"groups": [{"nme": "a"}]}), "0. Value: {'nme': 'a'}. Additional properties are not allowed ('nme' was unexpected)"),
        ] {
            assert_eq!(body(value).unwrap_err(), format!("Invalid input for field/attribute {words}"));
        }
        let lenient = json!({"groups": [{"name": "a", "nme": 1}]});
        assert!(read::<Body>("body", lenient.as_object().unwrap().clone(), false).is_ok());
    }
}
