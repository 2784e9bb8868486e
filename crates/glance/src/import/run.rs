//! An import in the background: get the data, convert it where that is asked for, bring it to the stores.

use std::collections::BTreeMap;

use axum::body::Body;
use kit::{Context, Error, Result};
use serde_json::{Value, json};

use super::{Source, begin, convert, region, text};
use crate::data::bring::{bring, put};
use crate::data::probe;
use crate::data::transfer::{self, Transfer};
use crate::entity::{Status, task};
use crate::images::{self, Image, store};
use crate::{Glance, quota, tasks};

/// Runs to its end; how it went is in the task and the image.
pub async fn run(app: Glance, image: Image, source: Source, transfer: Transfer) {
    let id = image.row.id.clone();
    let back_to = match source {
        Source::Staged | Source::Web { .. } | Source::Glance(_) => Status::Queued,
        Source::Stores => Status::Active,
    };
    let done = match &source {
        Source::Staged | Source::Web { .. } | Source::Glance(_) => fresh(&app, image, &source, &transfer).await,
        Source::Stores => copy(&app, image, &transfer).await,
    };
    if let Err(error) = done {
        tracing::warn!(image = id, %error, "import failed");
        transfer::fail(&app, &transfer, back_to, &error).await;
    }
}

async fn fresh(app: &Glance, mut image: Image, source: &Source, transfer: &Transfer) -> Result<()> {
    probe::after(app, "begin").await?;
    let room = quota::room(app, &image.row.owner, None).await?;
    let mut adopts = BTreeMap::new();
    let mut received = match source {
        Source::Web { uri, expected } => {
            let answer = app.web.get(uri).await.map_err(|refused| Error::bad_request(refused.0))?;
            let received = app.scratch.receive(Body::new(answer.into_body()), room).await?;
            if let Some(expected) = expected {
                expected.verify(&received)?;
            }
            received
        }
        Source::Glance(remote) => {
            let (info, received) = remote.fetch(app, room).await?;
            adopts = region::adopted(&info);
            (image.row.disk_format, image.row.container_format) = (info.disk_format, info.container_format);
            received
        }
        Source::Staged | Source::Stores => app.scratch.read(app.scratch.staged(&image.row.id)).await?,
    };
    probe::after(app, "receive").await?;
    if let Some(target) = app.settings.convert_to
        && let Some(converted) = convert::convert(app, &image, &received, target).await?
    {
        image.row.disk_format = Some(target.as_str().to_owned());
        received = converted;
        probe::after(app, "convert").await?;
    }
    bring(app, image, &transfer.adopting(adopts), received).await
}

/// From a store that has it to others.
async fn copy(app: &Glance, image: Image, transfer: &Transfer) -> Result<()> {
    probe::after(app, "begin").await?;
    let size = image.row.size.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let body = crate::data::open(app, &image, 0, size).await?;
    let received = app.scratch.receive(body, size).await?;
    check_hash(&received.sha512, image.row.os_hash_value.as_deref())?;
    probe::after(app, "receive").await?;
    let kept = put(app, transfer, &received).await?;
    transfer::activate(app, transfer, image.row, kept).await
}

pub fn check_hash(found: &str, expected: Option<&str>) -> Result<()> {
    match expected {
        Some(expected) if !expected.eq_ignore_ascii_case(found) => {
            Err(Error::bad_request("The image's data does not have the hash it should have."))
        }
        _ => Ok(()),
    }
}

/// An administrator's task: makes an image, and imports it from the web.
pub async fn from_task(app: &Glance, ctx: &Context, input: &Value) -> Result<task::Model> {
    let empty = serde_json::Map::new();
    let input = input.as_object().unwrap_or(&empty);
    let (uri, format) = (text(input, "import_from")?, text(input, "import_from_format")?);
    app.web.check(uri).map_err(|refused| Error::bad_request(refused.0))?;
    let properties = input.get("image_properties").and_then(Value::as_object);
    let mut fields = properties.ok_or_else(|| Error::bad_request("'image_properties' is required"))?.clone();
    fields.insert("disk_format".into(), json!(format));
    fields.entry("container_format").or_insert_with(|| json!("bare"));
    let image = images::read(ctx, &fields)?;
    let row = image.clone();
    app.db.write(move |tx| Box::pin(async move { store::insert(tx, &row).await })).await?;
    let stores = vec![app.stores.chosen(None)?.id.clone()];
    let mut task = tasks::new(ctx, "import", &image.row.id, &json!(input))?;
    let id = image.row.id.clone();
    begin(app, image, Source::Web { uri: uri.to_owned(), expected: None }, stores, true, task.clone()).await?;
    task.result = Some(json!({"image_id": id}).to_string());
    Ok(task)
}
