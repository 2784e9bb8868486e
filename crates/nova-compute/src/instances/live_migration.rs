//! A guest moves to another host while it runs: this host's part in it, as the destination or as the source.
//!
//! ```text
//!   destination: pre ---------------------------> post: ports, volumes, guest
//!                 |        +--- progress --->      |
//!   source:       |     live: the guest leaves     +--rollback--> gone
//! ```

use kit::{Error, Kind, Result};
use rpc::conductor::TOPIC;
use rpc::live_migration::{
    LiveMigration, MigrationProgress, PostLiveMigration, PreLiveMigration, Progress, RollbackLiveMigration, Urge, UrgeLiveMigration,
};

use super::action::Subject;
use super::resize::{read, remake};
use super::{build, network, terminate, volumes};
use crate::host::Host;
use crate::hypervisor::{Journey, PowerState};

/// Whether the guest can come here; its ports have a binding here that waits.
pub async fn pre(host: Host, request: PreLiveMigration) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        if !host.hypervisor.moves_guests() {
            return Err(Error::bad_request("Live migration is not supported by the hypervisor of the destination."));
        }
        let instance = read(&host, &request.instance_id).await?;
        network::bind_ahead(&host, &request.caller.request_id, &instance).await
    };
    subject.call("compute_pre_live_migration", work).await
}

/// The guest leaves.
pub async fn live(host: Host, request: LiveMigration) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let slot = host.slot(&request.instance_id);
    slot.urge.send_replace(Urge::None);
    subject.call("compute_live_migration", leave(&host, &request, slot.urge.subscribe())).await
}

async fn leave(host: &Host, request: &LiveMigration, urge: tokio::sync::watch::Receiver<Urge>) -> Result<()> {
    let instance = read(host, &request.instance_id).await?;
    // asked a second time, it may have left already
    if host.hypervisor.state(&instance.id) != PowerState::NoState {
        let (progress, mut told) = tokio::sync::watch::channel(Progress::default());
        let tell = |now| {
            progress.send_replace(now);
        };
        let telling = async {
            while told.changed().await.is_ok() {
                let now = *told.borrow_and_update();
                let message = MigrationProgress { migration_id: request.migration_id.clone(), progress: now };
                // the next one tells more
                let _ = host.bus.cast(TOPIC, message).await;
            }
            std::future::pending::<()>().await
        };
        tokio::select! {
            moved = host.hypervisor.migrate(&instance.id, Journey { urge, progress: &tell }) => moved?,
            () = telling => {}
        }
    }
    terminate::unplug_all(host, &instance.id).await?;
    match instance.host.as_deref() == Some(host.name()) {
        true => volumes::disconnect_all(host, &request.caller.request_id, &instance).await,
        false => Ok(()),
    }
}

/// The guest is here, or, after a migration that failed late, here again.
pub async fn post(host: Host, request: PostLiveMigration) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        let mut instance = host.must_have(&request.instance_id).await?;
        network::activate(&host, &request.caller.request_id, &instance, &request.source_host).await?;
        build::settle(&host, &request.caller, &mut instance).await?;
        if !request.paused {
            return remake(&host, true, &request.caller, &instance).await;
        }
        build::make(&host, &instance, None, None).await?;
        volumes::complete_all(&host, &request.caller, &instance).await
    };
    subject.call("compute_post_live_migration", work).await
}

/// The guest does not come, or goes back.
pub async fn rollback(host: Host, request: RollbackLiveMigration) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        let instance = read(&host, &request.instance_id).await?;
        terminate::end_guest(&host, &instance.id).await?;
        if instance.host.as_deref() == Some(host.name()) {
            volumes::disconnect_all(&host, &request.caller.request_id, &instance).await?;
        }
        network::unbind_ahead(&host, &request.caller.request_id, &instance).await
    };
    subject.call("compute_rollback_live_migration", work).await
}

/// What is wanted of the migration that is under way.
pub async fn urge(host: Host, request: UrgeLiveMigration) -> Result<()> {
    let slot = host.slot(&request.instance_id);
    if slot.urge.receiver_count() == 0 {
        return Err(Error::new(Kind::Conflict, format!("No migration of instance {} is under way here.", request.instance_id)));
    }
    slot.urge.send_replace(request.urge);
    Ok(())
}
