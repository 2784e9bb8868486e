//! Which host speaks for a backup: the one that has it, or any where it is in a bucket.

use kit::Result;

use super::Backup;
use crate::{Cinder, services};

/// The host to ask about a backup. It may be down where no other can help.
pub async fn of(app: &Cinder, backup: &Backup) -> Result<String> {
    among(app, &backup.host, backup.bucket.is_some()).await
}

/// The same for what is not known as a backup yet.
pub async fn among(app: &Cinder, host: &str, in_bucket: bool) -> Result<String> {
    if !in_bucket || services::store::is_up(app.db().read(), host).await? {
        return Ok(host.to_owned());
    }
    let others = services::store::volume_hosts(app.db().read()).await?;
    Ok(others.into_iter().find(|other| other.is_up()).map_or_else(|| host.to_owned(), |other| other.host))
}
