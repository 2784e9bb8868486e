//! The two ends of a guest's way from one host to another, as far as they are more than talk with one QEMU: keys, processes, limits.

use kit::Result;
use rpc::live_migration::Landing;

use super::guest::{GuestHandle, Request};
use super::slots::Slots;
use super::{Qemu, affinity, arrive, secure};
use crate::hypervisor::{Awaited, Guest, Journey};

impl Qemu {
    /// Starts a QEMU that waits for its guest, and lets the source reach it.
    pub(super) async fn expect(&self, guest: Guest, awaited: Awaited) -> Result<Landing> {
        let (id, files) = (guest.id.clone(), self.files(&guest.id));
        let slots = Slots::told(&awaited.machine)?;
        self.account.private_dir(files.dir())?;
        let key = secure::new_key();
        secure::write(&files, self.account, secure::NAME, &key)?;
        let launched = self.launch(&guest, files.clone(), Some(slots)).await?;
        let pid = launched.process.pid;
        self.confine(&guest, pid);
        let wait = async {
            let connected = launched.connect().await?;
            affinity::bind(&connected.qmp, pid, &guest.placement).await?;
            secure::give(&connected.qmp, &files, secure::SERVER).await?;
            let landing = arrive::open(&connected.qmp, &awaited.address, &awaited.disks, Some(&key)).await?;
            let agent = files.agent();
            let handle = GuestHandle::await_it(connected, agent.exists().then_some(agent), self.changes.clone()).await?;
            self.running().insert(id.clone(), handle);
            Ok(landing)
        };
        let landing = match wait.await {
            Ok(landing) => landing,
            Err(error) => {
                self.end_by_pid_file(&id).await;
                return Err(error);
            }
        };
        self.limit_disks(&guest).await?;
        tracing::info!(instance = id, pid, "guest awaited");
        Ok(landing)
    }

    /// Lets a guest go to where it is awaited.
    pub(super) async fn send(&self, id: &str, journey: Journey) -> Result<()> {
        let (guest, files) = (self.must_live(id)?, self.files(id));
        if let Some(key) = &journey.landing.key {
            secure::write(&files, self.account, secure::NAME, key)?;
        }
        guest.ask(Request::Depart(files, journey)).await
    }
}
