//! `/images/{id}/actions`: an administrator's brake on downloads.

use kit::{Context, Error, Path, Reply, Result};

use crate::Glance;
use crate::entity::Status;
use crate::images::{permitted, store};

pub async fn deactivate(app: Glance, ctx: Context, id: Path<String>) -> Result<Reply> {
    switch(app, ctx, id.0, "deactivate", Status::Active, Status::Deactivated).await
}

pub async fn reactivate(app: Glance, ctx: Context, id: Path<String>) -> Result<Reply> {
    switch(app, ctx, id.0, "reactivate", Status::Deactivated, Status::Active).await
}

/// From one state to the other; fine when it is there already.
async fn switch(app: Glance, ctx: Context, id: String, rule: &'static str, from: Status, to: Status) -> Result<Reply> {
    let now = permitted(&app, &ctx, &id, rule).await?.row.status;
    if now == to {
        return Reply::no_content();
    }
    let refused = || Error::forbidden(format!("Not allowed to {rule} image in status '{}'", now.as_str()));
    if now != from || !app.db.write(move |tx| Box::pin(async move { store::advance(tx, &id, from, to).await })).await? {
        return Err(refused());
    }
    Reply::no_content()
}
