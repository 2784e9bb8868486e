//! What a crash left, cleared away at start and, of other processes, while this one runs.

use kit::Result;

use super::{leftovers, transfer};
use crate::{Glance, images, tasks};

/// At start: takes back what this process had under way when it ended. Looks at rows, never at the images' files.
pub async fn recover(app: &Glance) -> Result<()> {
    for row in transfer::abandoned(app).await? {
        transfer::undo(app, row, "The process that worked on it has ended.".into()).await?;
    }
    leftovers::retry(app).await
}

/// Now and then: says that this process lives, takes back what dead ones left, tries again what could not be removed.
pub async fn upkeep(app: &Glance) -> Result<()> {
    transfer::renew(app).await?;
    recover(app).await?;
    tasks::purge(app).await?;
    images::scrub(app).await?;
    app.cache.tidy(app).await
}
