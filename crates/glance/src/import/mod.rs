//! The interoperable import: an image gets its data from what was staged, from the web, or from another store, in the background.
//!
//! What can be refused is refused before the 202; what goes wrong later is the task's message, and the image goes back to where it was.

mod convert;
mod locations;
mod run;
mod stage;

use kit::{Context, Error, Json, Kind, Path, Raw, Reply, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::data::check_formats;
use crate::data::transfer::{self, Plan};
use crate::entity::{Status, task};
use crate::fault::{not_yours, transition};
use crate::images::{Image, permitted, seen};
use crate::{Glance, tasks};
pub use locations::{Location, add as add_location, add_to, list as list_locations};
pub use run::from_task;
pub use stage::stage;

pub const METHODS: &[&str] = &["glance-direct", "web-download", "copy-image"];

/// Body of `POST .../import`.
#[derive(Deserialize)]
struct Import {
    method: Method,
    #[serde(default)]
    stores: Option<Vec<String>>,
    #[serde(default)]
    all_stores: bool,
    #[serde(default = "yes")]
    all_stores_must_succeed: bool,
}

#[derive(Deserialize)]
struct Method {
    name: String,
    #[serde(default)]
    uri: Option<String>,
}

fn yes() -> bool {
    true
}

/// Where the data comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Staged,
    Web {
        uri: String,
        /// What the SHA-512 of it must be.
        expected: Option<String>,
    },
    /// The stores that have it already.
    Stores,
}

impl Source {
    /// The state an image must be in, and the one it is in meanwhile.
    fn states(&self) -> (Status, Status) {
        match self {
            Source::Staged => (Status::Uploading, Status::Importing),
            Source::Web { .. } => (Status::Queued, Status::Importing),
            Source::Stores => (Status::Active, Status::Active),
        }
    }
}

pub async fn info(_: Glance, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"import-methods": {"description": "Import methods available.", "type": "array", "value": METHODS}}))
}

/// `POST /images/{id}/import`
pub async fn import(app: Glance, ctx: Context, id: Path<String>, body: Json<Value>, raw: Raw) -> Result<Reply> {
    let read = Import::deserialize(&body.0).map_err(|error| Error::bad_request(format!("Invalid import request: {error}")))?;
    let source = source(&app, &read.method)?;
    let image = allowed(&app, &ctx, &id.0, &source).await?;
    check_formats(&image)?;
    let header = raw.parts.headers.get("x-image-meta-store").and_then(|value| value.to_str().ok());
    let mut stores = stores(&app, &read, header)?;
    if source == Source::Stores {
        stores.retain(|store| !image.locations.iter().any(|location| location.store == *store));
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

/// Takes the image on its way; the rest happens without the client.
pub async fn begin(app: &Glance, image: Image, source: Source, stores: Vec<String>, all: bool, task: task::Model) -> Result<()> {
    let (from, to) = source.states();
    let plan = Plan { from, to, back_to: from, stores, all_must_succeed: all, task: Some(task) };
    let transfer = transfer::begin(app, &image.row, plan).await?;
    tokio::spawn(run::run(app.clone(), image, source, transfer));
    Ok(())
}

fn source(app: &Glance, method: &Method) -> Result<Source> {
    match method.name.as_str() {
        "glance-direct" => Ok(Source::Staged),
        "copy-image" => Ok(Source::Stores),
        "web-download" => {
            let uri = method.uri.clone().ok_or_else(|| Error::bad_request("'uri' is required for the web-download method"))?;
            app.web.check(&uri).map_err(|refused| Error::bad_request(refused.0))?;
            Ok(Source::Web { uri, expected: None })
        }
        other => Err(Error::bad_request(format!("Unknown import method name '{other}'."))),
    }
}

/// The image, if it may be imported in this way now.
async fn allowed(app: &Glance, ctx: &Context, id: &str, source: &Source) -> Result<Image> {
    let image = match source {
        Source::Staged | Source::Web { .. } => permitted(app, ctx, id, "modify_image").await?,
        Source::Stores => {
            let (image, target) = seen(app, ctx, id).await?;
            if !ctx.allows("copy_image", &target) {
                return Err(not_yours("copy_image"));
            }
            image
        }
    };
    let now = image.row.status;
    let (from, to) = source.states();
    if now == from {
        return Ok(image);
    }
    Err(match source {
        Source::Staged if now == Status::Queued => Error::conflict("Image needs to be staged before 'glance-direct' method can be used"),
        Source::Stores => Error::conflict("Only images with status active can be targeted for copying"),
        Source::Staged | Source::Web { .. } => transition(now.as_str(), to.as_str()),
    })
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
                let id = app.stores.chosen(Some(id))?.id.clone();
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
