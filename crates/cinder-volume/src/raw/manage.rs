//! Taking over disks and snapshots that are on the storage, and letting them go there again.

use kit::Result;
use rpc::volume::{Manageable, ManageableSnapshot};

use super::names::{self, STRAY};
use super::{Pool, RawBackend};
use crate::file::GIB;
use crate::file::disk::gib;

impl<P: Pool> RawBackend<P> {
    pub(super) async fn strays(&self) -> Result<Vec<Manageable>> {
        let mut found = Vec::new();
        for disk in self.pool().names().await? {
            if let Some(name) = names::told(&disk)
                && let Some(bytes) = self.pool().size(&disk).await?
            {
                found.push(Manageable { name: name.to_owned(), size: gib(bytes) });
            }
        }
        Ok(found)
    }

    /// Makes a stray disk the volume's; answers GiB. Its size is rounded up to a whole number of them.
    pub(super) async fn take_over(&self, volume_id: &str, name: &str) -> Result<u64> {
        let disk = names::volume(volume_id)?;
        if self.pool().size(&disk).await?.is_none() {
            let stray = self.stray(name).await?;
            self.refuse_used(volume_id, &stray).await?;
            self.pool().rename(&stray, &disk).await?;
        }
        let size = gib(self.pool().size(&disk).await?.unwrap_or_default()).max(1);
        self.pool().grow(&disk, size * GIB).await?;
        Ok(size)
    }

    async fn stray(&self, name: &str) -> Result<String> {
        for disk in names::meant(name)? {
            if names::told(&disk) == Some(name) && self.pool().size(&disk).await?.is_some() {
                return Ok(disk);
            }
        }
        Err(names::refused(name, "it is no disk that nobody manages"))
    }

    pub(super) async fn let_go(&self, volume_id: &str) -> Result<()> {
        let disk = names::volume(volume_id)?;
        if self.pool().size(&disk).await?.is_none() {
            return Ok(());
        }
        self.refuse_used(volume_id, &disk).await?;
        self.pool().rename(&disk, &names::unmanaged(&disk)).await
    }

    pub(super) async fn stray_snapshots(&self) -> Result<Vec<ManageableSnapshot>> {
        let mut found = Vec::new();
        for disk in self.pool().names().await? {
            let Some(volume_id) = names::volume_of(&disk).filter(|id| names::volume(id).is_ok_and(|name| name == disk)) else { continue };
            let strays = self.pool().snapshots(&disk).await?.into_iter().filter(|(name, _)| name.starts_with(STRAY));
            found.extend(strays.map(|(name, bytes)| ManageableSnapshot { name, volume_id: volume_id.to_owned(), size: gib(bytes) }));
        }
        Ok(found)
    }

    /// Gives a stray snapshot the id; answers GiB.
    pub(super) async fn take_over_snapshot(&self, volume_id: &str, snapshot_id: &str, name: &str) -> Result<u64> {
        let (disk, own) = (self.existing(volume_id).await?, names::snapshot(snapshot_id)?);
        let all = self.pool().snapshots(&disk).await?;
        let find = |name: &str| all.iter().find(|(have, _)| have == name).map(|(_, bytes)| gib(*bytes));
        if let Some(size) = find(&own) {
            return Ok(size);
        }
        let size = find(name).filter(|_| name.starts_with(STRAY));
        let size = size.ok_or_else(|| names::refused(name, "it is no snapshot of the volume that nobody manages"))?;
        self.pool().rename_snapshot(&disk, name, &own).await?;
        Ok(size)
    }

    pub(super) async fn let_go_snapshot(&self, volume_id: &str, snapshot_id: &str) -> Result<()> {
        let (disk, own) = (self.existing(volume_id).await?, names::snapshot(snapshot_id)?);
        self.pool().rename_snapshot(&disk, &own, &format!("{STRAY}{snapshot_id}")).await
    }
}
