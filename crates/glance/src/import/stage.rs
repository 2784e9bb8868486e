//! `PUT /images/{id}/stage`: data that is kept aside until it is imported.

use kit::{Context, Error, Path, Raw, Reply, Result};

use crate::data::transfer::{self, Plan};
use crate::data::{check_length, probe};
use crate::entity::Status;
use crate::fault::require_bytes;
use crate::images::permitted;
use crate::{Glance, quota};

pub async fn stage(app: Glance, ctx: Context, id: Path<String>, raw: Raw) -> Result<Reply> {
    require_bytes(&raw.parts)?;
    let image = permitted(&app, &ctx, &id.0, "modify_image").await?;
    check_length(&app, &raw)?;
    let limits = quota::of(&app, &image.row.owner).await?;
    quota::check_staged(app.db.read(), &image.row.owner, &limits, 1).await?;
    let plan = Plan {
        from: Status::Queued,
        to: Status::Uploading,
        back_to: Status::Queued,
        stores: Vec::new(),
        all_must_succeed: true,
        task: None,
    };
    let transfer = transfer::begin(&app, &image.row, plan).await?;
    // to its end also when the client goes away, so that the image is queued again
    let task = tokio::spawn(async move {
        let done = async {
            probe::after(&app, "begin").await?;
            let received = app.scratch.receive(raw.body, app.settings.image_size_cap).await?;
            probe::after(&app, "receive").await?;
            let size = received.size;
            app.scratch.stage(received, &image.row.id).await?;
            probe::after(&app, "keep").await?;
            transfer::staged(&app, &transfer, image.row.owner, size).await
        };
        let done = done.await;
        if let Err(error) = &done {
            transfer::fail(&app, &transfer, Status::Queued, error).await;
        }
        done
    });
    task.await.map_err(Error::internal)??;
    Reply::no_content()
}
