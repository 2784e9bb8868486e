//! A resource's attributes as data: which a request may set and when, what they may be, who may set them, how lists filter by them.
//! From it come the 400s of every body, and the filters, order and fields of every list.

use kit::call::{Call, FromCall};
use kit::policy::Target;
use kit::{Context, Error, Json, Kind as ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::fault::{enforce, invalid_attribute, invalid_input};
use crate::values::{Kind, NO_INTEGER, normalize};

/// One attribute of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    pub name: &'static str,
    pub kind: Kind,
    /// Where lists filter and sort by it.
    pub column: Option<&'static str>,
    pub create: bool,
    pub update: bool,
    pub required: bool,
    /// Whoever sets it needs the rule `create_network:name` or `update_network:name` as well.
    pub ruled: bool,
}

impl Attribute {
    /// Settable at creation and later.
    pub const fn writable(name: &'static str, kind: Kind) -> Attribute {
        Attribute { name, kind, column: Some(name), create: true, update: true, required: false, ruled: false }
    }

    /// Settable at creation only.
    pub const fn fixed(name: &'static str, kind: Kind) -> Attribute {
        Attribute { update: false, ..Attribute::writable(name, kind) }
    }

    /// Never settable.
    pub const fn shown(name: &'static str, kind: Kind) -> Attribute {
        Attribute { create: false, ..Attribute::fixed(name, kind) }
    }

    pub const fn required(self) -> Attribute {
        Attribute { required: true, ..self }
    }

    pub const fn ruled(self) -> Attribute {
        Attribute { ruled: true, ..self }
    }

    /// Kept in a column of another name.
    pub const fn column(self, column: &'static str) -> Attribute {
        Attribute { column: Some(column), ..self }
    }

    /// No simple column, so no plain filter.
    pub const fn composite(self) -> Attribute {
        Attribute { column: None, ..self }
    }
}

/// What every main resource has beside its own.
pub const STANDARD: &[Attribute] = &[
    ID,
    PROJECT,
    TENANT,
    Attribute::writable("description", Kind::Text(255)),
    Attribute::shown("created_at", Kind::Text(32)),
    Attribute::shown("updated_at", Kind::Text(32)),
    Attribute::shown("revision_number", Kind::Int(0, i64::MAX)),
];

/// Of resources without times and revisions. Attributes that name `id` are complete.
pub const ID: Attribute = Attribute::shown("id", Kind::Uuid);
pub const PROJECT: Attribute = Attribute::fixed("project_id", Kind::Text(255));
pub const TENANT: Attribute = Attribute::fixed("tenant_id", Kind::Text(255)).column("project_id");

/// Finds an attribute by its name.
pub fn find(own: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    let complete = own.iter().any(|attribute| attribute.name == "id");
    let standard = if complete { &[] } else { STANDARD };
    own.iter().chain(standard).find(|attribute| attribute.name == name)
}

/// A request's body, and the revision it was made for.
pub struct Input {
    body: Value,
    pub if_match: IfMatch,
}

/// `If-Match: revision_number=N`
#[derive(Clone, Copy, Debug, Default)]
pub struct IfMatch(Option<i64>);

impl IfMatch {
    /// 412 when the resource has moved on.
    pub fn check(self, revision: i64) -> Result<()> {
        match self.0 {
            Some(wanted) if wanted != revision => {
                Err(Error::new(ErrorKind::PreconditionFailed, format!("Constrained to {wanted}, but current revision is {revision}"))
                    .code("RevisionNumberConstraintFailed"))
            }
            _ => Ok(()),
        }
    }
}

impl<S: Send + Sync> FromCall<S> for IfMatch {
    async fn from_call(call: &mut Call<S>) -> Result<Self> {
        let Some(text) = call.parts.headers.get("if-match").and_then(|v| v.to_str().ok()) else { return Ok(IfMatch(None)) };
        match text.trim().strip_prefix("revision_number=").and_then(|n| n.parse().ok()) {
            Some(revision) => Ok(IfMatch(Some(revision))),
            None => Err(Error::bad_request(format!("Invalid input for if-match. Reason: '{text}' is not revision_number=<number>."))),
        }
    }
}

impl<S: Send + Sync> FromCall<S> for Input {
    async fn from_call(call: &mut Call<S>) -> Result<Self> {
        let if_match = IfMatch::from_call(call).await?;
        match Json::<Value>::from_call(call).await {
            Ok(Json(body)) if body.is_object() => Ok(Input { body, if_match }),
            Err(error) if error.kind != ErrorKind::BadRequest => Err(error),
            _ => Err(Error::bad_request("Body contains invalid data")),
        }
    }
}

impl Input {
    /// The whole body, for operations that have no resource in it.
    pub fn into_body(self) -> Value {
        self.body
    }

    /// The body of a creation: one object under `key`, or many under `plural`. True when it was many.
    pub fn many(mut self, key: &str, plural: &str) -> Result<(Vec<Map<String, Value>>, bool)> {
        if self.body.get(key).is_none()
            && let Some(Value::Array(items)) = self.body.get_mut(plural).map(Value::take)
        {
            let objects: Option<Vec<_>> = items.into_iter().map(|item| unwrapped(item, key)).collect();
            return match objects {
                Some(objects) if !objects.is_empty() => Ok((objects, true)),
                _ => Err(Error::bad_request("Resources required")),
            };
        }
        Ok((vec![self.one(key)?], false))
    }

    /// The one object under `key`.
    pub fn one(mut self, key: &str) -> Result<Map<String, Value>> {
        if self.body.as_object().is_some_and(Map::is_empty) {
            return Err(Error::bad_request("Resource body required"));
        }
        match self.body.get_mut(key).map(Value::take) {
            Some(Value::Object(map)) => Ok(map),
            None | Some(Value::Null) => Err(Error::bad_request(format!("Unable to find '{key}' in request body"))),
            Some(_) => Err(Error::bad_request(format!("Object '{key}' contains invalid data"))),
        }
    }
}

/// One of many, which may come under the key of one.
fn unwrapped(item: Value, key: &str) -> Option<Map<String, Value>> {
    let Value::Object(mut map) = item else { return None };
    match map.remove(key) {
        None => Some(map),
        Some(Value::Object(inner)) if map.is_empty() => Some(inner),
        Some(_) => None,
    }
}

/// What is asked of a resource, checked and in the one form.
#[derive(Debug)]
pub struct Checked(pub Map<String, Value>);

impl Checked {
    /// Checks the body of the creation of a part of something else, whose owner is that thing's.
    pub fn inner(own: &'static [Attribute], body: Map<String, Value>) -> Result<Checked> {
        let checked = check(own, body, Verb::Create)?;
        check_required(own, &checked)?;
        Ok(Checked(checked))
    }

    /// Checks the body of a creation. The owner is put in as `project_id`; only an administrator may choose another than their own.
    pub fn create(ctx: &Context, key: &str, own: &'static [Attribute], mut body: Map<String, Value>) -> Result<Checked> {
        let project = owner(ctx, &mut body)?;
        let mut checked = check(own, body, Verb::Create)?;
        check_required(own, &checked)?;
        checked.insert("project_id".into(), project.clone().into());
        enforce(ctx, &format!("create_{key}"), &Target::project(&project))?;
        Ok(Checked(checked))
    }

    /// Checks the body of an update.
    pub fn update(own: &'static [Attribute], body: Map<String, Value>) -> Result<Checked> {
        check(own, body, Verb::Update).map(Checked)
    }

    /// Checks the rules of those attributes that need one. `verb` is `create` or `update`.
    pub fn enforce(&self, ctx: &Context, verb: &str, key: &str, own: &[Attribute], target: &Target) -> Result<()> {
        for attribute in own.iter().filter(|a| a.ruled && self.0.contains_key(a.name)) {
            enforce(ctx, &format!("{verb}_{key}:{}", attribute.name), target)?;
        }
        Ok(())
    }

    /// An attribute as its type; `None` when the request does not name it.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(|error| invalid_attribute(name, error)),
        }
    }

    /// The same with a default.
    pub fn or<T: DeserializeOwned>(&self, name: &str, default: T) -> Result<T> {
        Ok(self.get(name)?.unwrap_or(default))
    }

    pub fn text(&self, name: &str) -> Result<String> {
        self.or(name, String::new())
    }

    /// Puts an attribute's new value into its place, if the request names it.
    pub fn set<T: DeserializeOwned>(&self, name: &str, place: &mut T) -> Result<()> {
        if let Some(value) = self.get(name)? {
            *place = value;
        }
        Ok(())
    }
}

fn check_required(own: &[Attribute], checked: &Map<String, Value>) -> Result<()> {
    match own.iter().find(|attribute| attribute.required && !checked.contains_key(attribute.name)) {
        Some(attribute) => {
            Err(Error::bad_request(format!("Failed to parse request. Required attribute '{}' not specified", attribute.name)))
        }
        None => Ok(()),
    }
}

fn owner(ctx: &Context, body: &mut Map<String, Value>) -> Result<String> {
    let named = [body.remove("tenant_id"), body.remove("project_id")];
    let mut named = named.iter().flatten().filter_map(Value::as_str).filter(|p| !p.is_empty());
    let (first, second) = (named.next(), named.next());
    match (first, second) {
        (Some(a), Some(b)) if a != b => Err(Error::bad_request("'project_id' and 'tenant_id' do not match")),
        (Some(project), _) => {
            if !ctx.is_admin() && ctx.project_id()? != project {
                let message =
                    "Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin privileges";
                return Err(Error::bad_request(message));
            }
            Ok(project.to_owned())
        }
        (None, _) => Ok(ctx.project_id()?.to_owned()),
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Create,
    Update,
}

impl Verb {
    /// 400 for an attribute that is not to be set.
    fn allow(self, attribute: &Attribute) -> Result<()> {
        match self {
            Verb::Create if !attribute.create => Err(Error::bad_request(format!("Attribute '{}' not allowed in POST", attribute.name))),
            Verb::Update if !attribute.update => Err(Error::bad_request(format!("Cannot update read-only attribute {}", attribute.name))),
            _ => Ok(()),
        }
    }
}

fn check(own: &'static [Attribute], body: Map<String, Value>, verb: Verb) -> Result<Map<String, Value>> {
    let unknown: Vec<&str> = body.keys().map(String::as_str).filter(|key| find(own, key).is_none()).collect();
    if !unknown.is_empty() {
        return Err(Error::bad_request(format!("Unrecognized attribute(s) '{}'", unknown.join(", "))));
    }
    let mut checked = Map::new();
    for (name, value) in body {
        let Some(attribute) = find(own, &name) else { continue };
        verb.allow(attribute)?;
        let value = normalize(attribute.kind, value).map_err(|reason| refused(attribute.name, attribute.kind, &reason))?;
        checked.insert(name, value);
    }
    Ok(checked)
}

/// Neutron converts before it checks, and what it cannot convert it speaks of without the attribute's name.
pub fn refused(name: &str, kind: Kind, reason: &str) -> Error {
    match kind {
        Kind::Bool | Kind::BoolOrNull => invalid_input(reason),
        _ if reason.ends_with(NO_INTEGER) => invalid_input(reason),
        _ => invalid_attribute(name, reason),
    }
}
