//! Bodies that claim, in the shapes they have had.

use std::collections::BTreeMap;

use kit::{Context, Error, Result};
use serde::Deserialize;
use serde_json::Value;

use super::claim::{Claim, Expected};
use crate::input::{check_owner, in_range, shaped, uuid};
use crate::microversions as mv;

/// Whose an allocation is that was written when nobody said so: until 1.7.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// What is drawn from one provider.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Share {
    resources: BTreeMap<String, i64>,
    /// As `GET` shows it, so that what was read can be sent back; not used.
    #[serde(default, rename = "generation")]
    _generation: Option<i64>,
}

/// The list form until 1.11.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedShare {
    resource_provider: ProviderRef,
    resources: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderRef {
    uuid: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListBody {
    allocations: Vec<ListedShare>,
    project_id: Option<String>,
    user_id: Option<String>,
}

/// The object form from 1.12 on: also one consumer of `POST /allocations` and of a reshape.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedConsumer {
    allocations: BTreeMap<String, Share>,
    project_id: String,
    user_id: String,
    #[serde(default, deserialize_with = "present")]
    consumer_generation: Option<Option<i64>>,
    consumer_type: Option<String>,
    /// Which group of the candidates each provider served: for the client's own memory.
    mappings: Option<BTreeMap<String, Vec<String>>>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The claim of `PUT /allocations/{consumer}`.
pub fn read(ctx: &Context, consumer: &str, body: Value) -> Result<Claim> {
    if ctx.speaks(mv::ALLOCATION_OBJECT) {
        return read_object(ctx, consumer, shaped(body)?, ctx.speaks(mv::CONSUMER_GENERATION));
    }
    let body: ListBody = shaped(body)?;
    if body.allocations.is_empty() {
        return Err(Error::bad_request("JSON does not validate: [] should be non-empty"));
    }
    let owned = ctx.speaks(mv::CONSUMER_OWNER);
    for (key, given) in [("project_id", &body.project_id), ("user_id", &body.user_id)] {
        match (owned, given) {
            (true, None) => return Err(Error::bad_request(format!("JSON does not validate: '{key}' is a required property"))),
            (false, Some(_)) => return Err(unknown_key(key)),
            (true, Some(_)) | (false, None) => {}
        }
    }
    let shares = body.allocations.into_iter().map(|share| (share.resource_provider.uuid, share.resources));
    let nobody = || NOBODY.to_owned();
    claim(consumer, shares, body.project_id.unwrap_or_else(nobody), body.user_id.unwrap_or_else(nobody))
}

/// The claims of a body that names many consumers.
pub fn read_consumers(ctx: &Context, consumers: BTreeMap<String, ManagedConsumer>) -> Result<Vec<Claim>> {
    consumers.into_iter().map(|(consumer, body)| read_object(ctx, &uuid("consumer", &consumer)?, body, true)).collect()
}

fn read_object(ctx: &Context, consumer: &str, body: ManagedConsumer, may_be_empty: bool) -> Result<Claim> {
    if body.allocations.is_empty() && !may_be_empty {
        return Err(empty("{}"));
    }
    if let Some(mappings) = &body.mappings {
        if !ctx.speaks(mv::MAPPINGS) {
            return Err(unknown_key("mappings"));
        }
        check_mappings(mappings)?;
    }
    let expected = match (ctx.speaks(mv::CONSUMER_GENERATION), body.consumer_generation) {
        (true, Some(Some(generation))) => Expected::At(generation),
        (true, Some(None)) => Expected::New,
        (true, None) => return Err(Error::bad_request("JSON does not validate: 'consumer_generation' is a required property")),
        (false, None) => Expected::Any,
        (false, Some(_)) => return Err(unknown_key("consumer_generation")),
    };
    match (ctx.speaks(mv::CONSUMER_TYPE), &body.consumer_type) {
        (true, Some(name)) if is_consumer_type(name) => {}
        (true, Some(name)) => return Err(Error::bad_request(format!("JSON does not validate: '{name}' does not match '^[A-Z0-9_]+$'"))),
        (true, None) => return Err(Error::bad_request("JSON does not validate: 'consumer_type' is a required property")),
        (false, None) => {}
        (false, Some(_)) => return Err(unknown_key("consumer_type")),
    }
    let shares = body.allocations.into_iter().map(|(provider, share)| (provider, share.resources));
    let claim = claim(consumer, shares, body.project_id, body.user_id)?;
    Ok(Claim { expected, consumer_type: body.consumer_type, ..claim })
}

fn claim(
    consumer: &str,
    shares: impl Iterator<Item = (String, BTreeMap<String, i64>)>,
    project_id: String,
    user_id: String,
) -> Result<Claim> {
    for id in [&project_id, &user_id] {
        check_owner("JSON does not validate", id)?;
    }
    let mut amounts = BTreeMap::new();
    for (provider, resources) in shares {
        let provider = uuid("resource provider", &provider)?;
        if resources.is_empty() {
            return Err(empty("{}"));
        }
        for (class, amount) in resources {
            if !is_consumer_type(&class) {
                return Err(Error::bad_request(format!(
                    "JSON does not validate: '{class}' does not match any of the regexes: '^[A-Z0-9_]+$'"
                )));
            }
            in_range(amount, 1)?;
            amounts.insert((provider.clone(), class), amount);
        }
    }
    Ok(Claim { consumer: consumer.to_owned(), amounts, project_id, user_id, consumer_type: None, expected: Expected::Any })
}

/// Which group each provider served: at least one group, each with a provider.
fn check_mappings(mappings: &BTreeMap<String, Vec<String>>) -> Result<()> {
    if mappings.is_empty() {
        return Err(empty("{}"));
    }
    if mappings.values().any(Vec::is_empty) {
        return Err(empty("[]"));
    }
    mappings.values().flatten().try_for_each(|provider| uuid("mappings", provider).map(drop))
}

fn empty(what: &str) -> Error {
    Error::bad_request(format!("JSON does not validate: {what} should be non-empty"))
}

fn unknown_key(key: &str) -> Error {
    Error::bad_request(format!("JSON does not validate: Additional properties are not allowed ('{key}' was unexpected)"))
}

/// `INSTANCE` and the like.
pub fn is_consumer_type(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
