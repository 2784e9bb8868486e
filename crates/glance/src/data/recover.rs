//! What a crash left, cleared away at start: uploads that never ended are queued again, and files that no image has are removed.

use std::collections::HashMap;

use kit::Result;
use sea_orm::{ActiveEnum, ColumnTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::Expr};

use super::upload::give_back;
use crate::Glance;
use crate::entity::{Status, image};

pub async fn recover(app: &Glance) -> Result<()> {
    app.db
        .write(|tx| {
            Box::pin(async move {
                for (from, to) in [(Status::Saving, Status::Queued), (Status::Importing, Status::Uploading)] {
                    image::Entity::update_many()
                        .col_expr(image::Column::Status, Expr::val(to.to_value()))
                        .filter(image::Column::Status.eq(from))
                        .exec(tx)
                        .await?;
                }
                Ok(())
            })
        })
        .await?;
    let rows = image::Entity::find().select_only().columns([image::Column::Id, image::Column::Status]);
    let rows: Vec<(String, Status)> = rows.into_tuple().all(app.db.read()).await?;
    for (id, _) in rows.iter().filter(|(_, status)| *status == Status::Uploading) {
        // staging had not ended, or the import had moved the file without saying so
        if !tokio::fs::try_exists(app.files.staged(id)).await? {
            give_back(app, id, Status::Uploading, Status::Queued).await;
        }
    }
    let states: HashMap<String, Status> = rows.into_iter().collect();
    app.files
        .sweep(move |id, staged| match states.get(id) {
            Some(Status::Active | Status::Deactivated) => !staged,
            Some(Status::Uploading) => staged,
            Some(Status::Queued | Status::Saving | Status::Importing) | None => false,
        })
        .await
}
