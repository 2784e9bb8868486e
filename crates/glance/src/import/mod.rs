//! The interoperable import: an image gets its data from what was staged, from the web, or from another store, in the background.
//!
//! What can be refused is refused before the 202; what goes wrong later is the task's message, and the image goes back to where it was.

mod convert;
mod locations;
mod region;
mod run;
mod stage;

use kit::{Context, Error, Json, Kind, Path, Raw, Reply, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::data::transfer::{self, Plan};
use crate::entity::{Status, task};
use crate::images::{Image, seen};
use crate::{Glance, tasks};
use locations::Validation;
pub use locations::{Location, add as add_location, add_to, list as list_locations};
pub use region::{Regions, Remote};
pub use run::from_task;
pub use stage::stage;

const METHODS: &[&str] = &["glance-direct", "web-download", "copy-image"];
/// Where other regions are known.
const AMONG_REGIONS: &str = "glance-download";

/// The ways to import that there are here.
pub fn methods(app: &Glance) -> Vec<&'static str> {
    METHODS.iter().copied().chain(app.regions.is_some().then_some(AMONG_REGIONS)).collect()
}

/// Body of `POST .../import`.
#[derive(Deserialize)]
struct Import {
    #[serde(default)]
    stores: Option<Vec<String>>,
    #[serde(default)]
    all_stores: bool,
    #[serde(default = "yes")]
    all_stores_must_succeed: bool,
}

#[derive(Deserialize)]
pub struct Method {
    name: String,
    uri: Option<String>,
    glance_region: Option<String>,
    glance_image_id: Option<String>,
    glance_service_interface: Option<String>,
}

fn yes() -> bool {
    true
}

/// Where the data comes from.
#[derive(Clone)]
pub enum Source {
    Staged,
    Web {
        uri: String,
        expected: Option<Validation>,
    },
    /// Another region's glance.
    Glance(Remote),
    /// The stores that have it already.
    Stores,
}

impl Source {
    /// The state an image must be in, and the one it is in meanwhile.
    fn states(&self) -> (Status, Status) {
        match self {
            Source::Staged => (Status::Uploading, Status::Importing),
            Source::Web { .. } | Source::Glance(_) => (Status::Queued, Status::Importing),
            Source::Stores => (Status::Active, Status::Active),
        }
    }
}

pub async fn info(app: Glance, _: Context) -> Result<Reply> {
    let methods = methods(&app);
    Reply::ok(&json!({"import-methods": {"description": "Import methods available.", "type": "array", "value": methods}}))
}

/// `POST /images/{id}/import`
pub async fn import(app: Glance, ctx: Context, id: Path<String>, body: Json<Value>, raw: Raw) -> Result<Reply> {
    let method = method(&app, &body.0)?;
    let read = read(&body.0)?;
    let (image, target) = seen(&app, &ctx, &id.0).await?;
    check_ready(&method.name, &image)?;
    let rule = if method.name == "copy-image" { "copy_image" } else { "modify_image" };
    ctx.enforce(rule, &target)?;
    let source = source(&app, &ctx, &method)?;
    let header = raw.parts.headers.get("x-image-meta-store").and_then(|value| value.to_str().ok());
    let mut stores = stores(&app, &read, header)?;
    if matches!(source, Source::Stores) {
        let has = |store: &String| image.locations.iter().any(|location| location.store == *store);
        if let Some(store) = stores.iter().find(|store| !read.all_stores && has(store)) {
            return Err(Error::bad_request(format!("Image is already present at store '{store}'")));
        }
        stores.retain(|store| !has(store));
    }
    let input = json!({"image_id": image.row.id, "import_req": without_secrets(&body.0), "backend": stores});
    let task = tasks::new(&ctx, "api_image_import", &image.row.id, &input)?;
    if stores.is_empty() {
        transfer::nothing(&app, image.row.id, task).await?;
        return Ok(Reply::empty(http::StatusCode::ACCEPTED));
    }
    begin(&app, image, source, stores, read.all_stores_must_succeed, task).await?;
    Ok(Reply::empty(http::StatusCode::ACCEPTED))
}

/// The method of a request, if there is such a one here.
fn method(app: &Glance, body: &Value) -> Result<Method> {
    let lacks = |key: &str| Error::bad_request(format!("Import request requires a '{key}' field."));
    let method = body.get("method").ok_or_else(|| lacks("method"))?;
    if method.is_object() && method.get("name").is_none() {
        return Err(lacks("name"));
    }
    let method = Method::deserialize(method).map_err(unreadable)?;
    if methods(app).contains(&method.name.as_str()) {
        return Ok(method);
    }
    Err(Error::bad_request(format!("Unknown import method name '{}'.", method.name)))
}

/// The rest of it.
fn read(body: &Value) -> Result<Import> {
    for key in ["all_stores", "all_stores_must_succeed"] {
        if body.get(key).is_some_and(|value| !value.is_boolean()) {
            return Err(Error::bad_request(format!("'{key}' must be boolean value only")));
        }
    }
    Import::deserialize(body).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::bad_request(format!("Invalid import request: {error}"))
}

/// Takes the image on its way; the rest happens without the client.
pub async fn begin(app: &Glance, image: Image, source: Source, stores: Vec<String>, all: bool, task: task::Model) -> Result<()> {
    let (from, to) = source.states();
    let plan = Plan { from, to, back_to: from, stores, all_must_succeed: all, task: Some(task) };
    let transfer = transfer::begin(app, &image.row, plan).await?;
    tokio::spawn(run::run(app.clone(), image, source, transfer));
    Ok(())
}

fn source(app: &Glance, ctx: &Context, method: &Method) -> Result<Source> {
    match method.name.as_str() {
        "glance-direct" => Ok(Source::Staged),
        "copy-image" => Ok(Source::Stores),
        AMONG_REGIONS => Ok(Source::Glance(Remote::read(ctx, method)?)),
        _ => {
            let none = || Error::bad_request("URI for web-download does not pass filtering: None");
            let uri = method.uri.clone().ok_or_else(none)?;
            app.web.check(&uri).map_err(|refused| Error::bad_request(refused.0))?;
            Ok(Source::Web { uri, expected: None })
        }
    }
}

/// 409 unless the image is in the state to be imported in this way, and says what it will be.
fn check_ready(method: &str, image: &Image) -> Result<()> {
    let refused = match (method, image.row.status) {
        ("copy-image", Status::Active) => None,
        ("copy-image", _) => Some("Only images with status active can be targeted for copying".to_owned()),
        (_, Status::Active) => Some("Image with status active cannot be target for import".to_owned()),
        ("glance-direct", Status::Uploading) => None,
        ("glance-direct", _) => Some("Image needs to be staged before 'glance-direct' method can be used".to_owned()),
        (_, Status::Queued) => None,
        _ => Some(format!("Image needs to be in 'queued' state to use '{method}' method")),
    };
    let unset = [("container_format", &image.row.container_format), ("disk_format", &image.row.disk_format)];
    let unset = || unset.iter().find(|(_, value)| value.is_none()).map(|(name, _)| format!("'{name}' needs to be set before import"));
    refused.or_else(unset).map_or(Ok(()), |message| Err(Error::conflict(message)))
}

/// The stores the data goes to.
fn stores(app: &Glance, read: &Import, header: Option<&str>) -> Result<Vec<String>> {
    match (&read.stores, read.all_stores) {
        (Some(_), true) => Err(Error::bad_request("'stores' and 'all_stores' cannot be used together")),
        (_, _) if header.is_some() && (read.stores.is_some() || read.all_stores) => {
            Err(Error::bad_request("Stores parameter and x-image-meta-store header can't be both specified"))
        }
        (None, true) => Ok(app.stores.writable()),
        (Some(named), false) if !named.is_empty() => {
            let mut stores = Vec::new();
            for id in named {
                let id = app.stores.chosen(Some(id)).map_err(|error| Error::conflict(error.message))?.id.clone();
                if !stores.contains(&id) {
                    stores.push(id);
                }
            }
            Ok(stores)
        }
        _ => Ok(vec![app.stores.chosen(header)?.id.clone()]),
    }
}

/// A task shows how it was asked for, but not what may open a door elsewhere: the query of an address may be a signature.
fn without_secrets(body: &Value) -> Value {
    let mut shown = body.clone();
    if let Some(uri) = shown.pointer_mut("/method/uri")
        && let Some((plain, _)) = uri.as_str().and_then(|uri| uri.split_once('?'))
    {
        *uri = Value::from(plain);
    }
    shown
}

/// Reads the keys of a JSON object as text.
fn text<'v>(object: &'v Map<String, Value>, key: &str) -> Result<&'v str> {
    let found = object.get(key).and_then(Value::as_str);
    found.ok_or_else(|| Error::new(Kind::BadRequest, format!("'{key}' is required, and must be text")))
}
