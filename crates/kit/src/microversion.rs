//! API microversions: which fields exist at which version.
//!
//! A wire type derives [`Versioned`](kit_derive::Versioned) and says on a field since or until when it exists; requests with fields their
//! version does not know are refused, answers leave such fields out. Changes of meaning are named in a service's `microversions.rs`.

use std::fmt;
use std::str::FromStr;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::{Error, Kind, Result, exact};

/// `2.79`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion(pub u16, pub u16);

impl Microversion {
    /// For APIs without versions.
    pub const NONE: Microversion = Microversion(0, 0);
    pub const MAX: Microversion = Microversion(u16::MAX, u16::MAX);
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Microversion {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Microversion, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        let number = |part: &str| if part.bytes().all(|b| b.is_ascii_digit()) { part.parse::<u16>().map_err(drop) } else { Err(()) };
        Ok(Microversion(number(major)?, number(minor)?))
    }
}

/// The versions an API speaks, and how clients ask for one.
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    /// The word in `OpenStack-API-Version: compute 2.79`.
    pub service: &'static str,
    pub min: Microversion,
    pub max: Microversion,
    /// An older header with the bare number, when the service has one.
    pub legacy_header: Option<&'static str>,
    /// Answers name their request in `X-Compute-Request-Id`, too, where older clients look for it.
    pub compute_request_id: bool,
}

impl Versions {
    /// The version a request asks for; the minimum when it asks for none.
    pub fn negotiate(&self, headers: &http::HeaderMap) -> Result<Microversion> {
        let asked = headers
            .get_all("openstack-api-version")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|entry| entry.trim().split_once(' '))
            .find(|(service, _)| service.eq_ignore_ascii_case(self.service))
            .map(|(_, version)| version.trim())
            .or_else(|| self.legacy_header.and_then(|name| headers.get(name)).and_then(|value| value.to_str().ok()));
        match asked {
            None => Ok(self.min),
            Some("latest") => Ok(self.max),
            Some(text) => {
                let version = text.parse::<Microversion>().map_err(|()| {
                    Error::bad_request(format!("API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."))
                })?;
                if version < self.min || version > self.max {
                    return Err(Error::new(
                        Kind::NotAcceptable,
                        format!("Version {text} is not supported by the API. Minimum is {} and maximum is {}.", self.min, self.max),
                    ));
                }
                Ok(version)
            }
        }
    }
}

/// One field of a wire type, and when it exists (both ends included).
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub since: Microversion,
    pub until: Microversion,
}

impl Field {
    pub fn exists_at(&self, version: Microversion) -> bool {
        self.since <= version && version <= self.until
    }
}

/// A wire type whose fields come and go with the version; derived.
pub trait Versioned {
    const FIELDS: &'static [Field];

    /// Writes the fields that exist at `version`.
    fn serialize_at<S: Serializer>(&self, version: Microversion, serializer: S) -> std::result::Result<S::Ok, S::Error>;
}

/// Used by the derive.
#[doc(hidden)]
pub fn write_field<M: SerializeMap, T: Serialize>(
    map: &mut M,
    field: &Field,
    version: Microversion,
    value: &T,
) -> std::result::Result<(), M::Error> {
    if field.exists_at(version) { map.serialize_entry(field.name, value) } else { Ok(()) }
}

/// A value seen at a version: serializes to what that version shows.
pub struct At<'a, T>(pub &'a T, pub Microversion);

impl<T: Versioned> Serialize for At<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize_at(self.1, serializer)
    }
}

/// Refuses keys that `T` does not have at `version`, in the words of OpenStack's schema validation.
pub fn check_keys<T: Versioned>(path: &str, object: &Map<String, Value>, version: Microversion) -> Result<()> {
    only(path, object, |key| T::FIELDS.iter().any(|field| field.name == key && field.exists_at(version)))
}

/// Refuses the keys of an object that are not known where it stands, and says where that is.
pub fn only(path: &str, object: &Map<String, Value>, known: impl Fn(&str) -> bool) -> Result<()> {
    let unknown: Vec<&str> = object.keys().map(String::as_str).filter(|key| !known(key)).collect();
    match unexpected(&unknown) {
        Ok(()) => Ok(()),
        Err(error) => Err(exact::invalid(path, &Value::Object(object.clone()), error.message)),
    }
}

/// `Additional properties are not allowed ('x' was unexpected)`
pub fn unexpected(keys: &[&str]) -> Result<()> {
    let quoted: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    match quoted.len() {
        0 => Ok(()),
        1 => Err(Error::bad_request(format!("Additional properties are not allowed ({} was unexpected)", quoted.concat()))),
        _ => Err(Error::bad_request(format!("Additional properties are not allowed ({} were unexpected)", quoted.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPUTE: Versions = Versions {
        service: "compute",
        min: Microversion(2, 1),
        max: Microversion(2, 79),
        legacy_header: Some("x-openstack-nova-api-version"),
        compute_request_id: true,
    };

    fn ask(pairs: &[(&'static str, &'static str)]) -> Result<Microversion> {
        let mut headers = http::HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        COMPUTE.negotiate(&headers)
    }

    #[test]
    fn the_newer_header_wins_and_latest_is_the_newest() {
        assert_eq!(ask(&[]).unwrap(), Microversion(2, 1));
        assert_eq!(ask(&[("x-openstack-nova-api-version", "2.10")]).unwrap(), Microversion(2, 10));
        let both = [("openstack-api-version", "volume 3.5, compute 2.53"), ("x-openstack-nova-api-version", "2.10")];
        assert_eq!(ask(&both).unwrap(), Microversion(2, 53));
        assert_eq!(ask(&[("openstack-api-version", "compute latest")]).unwrap(), Microversion(2, 79));
        assert_eq!(ask(&[("openstack-api-version", "compute 2.80")]).unwrap_err().kind, Kind::NotAcceptable);
        assert_eq!(ask(&[("openstack-api-version", "compute new")]).unwrap_err().kind, Kind::BadRequest);
    }
}
