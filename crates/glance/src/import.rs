//! The interoperable import: stage a file, then import it. Only `glance-direct` is here.

use kit::{Context, Error, Json, Path, Raw, Reply, Result};
use serde::Deserialize;
use serde_json::json;

use crate::Glance;
use crate::data::upload::{activate, check_formats, check_length, claim, give_back};
use crate::entity::Status;
use crate::fault::require_bytes;
use crate::images::{Image, permitted};

/// Body of `POST .../import`.
#[derive(Deserialize)]
pub struct Import {
    method: Method,
}

#[derive(Deserialize)]
struct Method {
    name: String,
}

pub async fn info(_: Glance, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"import-methods": {"description": "Import methods available.", "type": "array", "value": ["glance-direct"]}}))
}

/// `PUT /images/{id}/stage`
pub async fn stage(app: Glance, ctx: Context, id: Path<String>, raw: Raw) -> Result<Reply> {
    require_bytes(&raw.parts)?;
    let image = permitted(&app, &ctx, &id.0, "modify_image").await?;
    check_length(&app, &raw)?;
    claim(&app, &image, Status::Queued, Status::Uploading).await?;
    let task = tokio::spawn(async move {
        let done = async {
            let received = app.files.receive(raw.body, app.image_size_cap).await?;
            app.files.place(received, app.files.staged(&image.row.id)).await
        };
        let done = done.await;
        if done.is_err() {
            give_back(&app, &image.row.id, Status::Uploading, Status::Queued).await;
        }
        done
    });
    task.await.map_err(Error::internal)??;
    Reply::no_content()
}

/// `POST /images/{id}/import`: 202; the image's status says how it goes.
pub async fn import(app: Glance, ctx: Context, id: Path<String>, body: Json<Import>) -> Result<Reply> {
    if body.0.method.name != "glance-direct" {
        return Err(Error::bad_request(format!("Unknown import method name '{}'.", body.0.method.name)));
    }
    let image = permitted(&app, &ctx, &id.0, "modify_image").await?;
    check_formats(&image)?;
    if !tokio::fs::try_exists(app.files.staged(&image.row.id)).await? {
        return Err(Error::conflict(format!("Image {} has no staged data", image.row.id)));
    }
    claim(&app, &image, Status::Uploading, Status::Importing).await?;
    tokio::spawn(async move {
        if let Err(error) = run(&app, image.clone()).await {
            tracing::warn!(image = %image.row.id, %error, "import failed");
            give_back(&app, &image.row.id, Status::Importing, Status::Queued).await;
        }
    });
    Ok(Reply::empty(http::StatusCode::ACCEPTED))
}

async fn run(app: &Glance, image: Image) -> Result<()> {
    let received = app.files.unstage(&image.row.id).await?;
    activate(app, image, Status::Importing, received).await
}

/// `GET /images/{id}/tasks`: imports are not kept as tasks.
pub async fn tasks(app: Glance, ctx: Context, id: Path<String>) -> Result<Reply> {
    permitted(&app, &ctx, &id.0, "get_image").await?;
    Reply::ok(&json!({"tasks": []}))
}
