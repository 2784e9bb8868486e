//! A guest moves to another host while it runs: this host's part in it, as the destination or as the source.
//!
//! ```text
//!   source:       describe            live: the guest leaves              forget: nothing is left
//!                     |                 |    +--- progress --->               ^
//!   destination:      +----> pre ------>+ land: it runs ------> post ---------+
//!                             +---rollback--> gone
//! ```

use std::time::Duration;

use kit::undo::Undo;
use kit::{Error, Kind, Result};
use rpc::Caller;
use rpc::compute::Instance;
use rpc::conductor::{SaveInstance, TOPIC};
use rpc::live_migration::{
    Departure, DescribeGuest, ForgetDeparted, LandGuest, Landing, LiveMigration, MigrationProgress, PostLiveMigration, PreLiveMigration,
    Progress, RollbackLiveMigration, Urge, UrgeLiveMigration,
};

use super::action::Subject;
use super::record::Record;
use super::resize::read;
use super::{disks, landing, nbd, network, placing, terminate, volumes};
use crate::host::Host;
use crate::hypervisor::{Awaited, Journey, PowerState};

/// How often conductor is told how far it is.
const BETWEEN: Duration = Duration::from_millis(500);
/// What is kept of a console that moves.
const CONSOLE: usize = 64 << 10;

/// What a guest that runs here is made of.
pub async fn describe(host: Host, request: DescribeGuest) -> Result<Departure> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        let instance = host.must_have(&request.instance_id).await?;
        let machine = host.hypervisor.describe(&instance.id).await?;
        let disks = match &host.store {
            Some(store) => landing::describe(&host, store, &instance).await?,
            None => Vec::new(),
        };
        let console = host.hypervisor.console(&instance.id).await?;
        let begin = console.floor_char_boundary(console.len().saturating_sub(CONSOLE));
        let console = console.get(begin..).unwrap_or_default().to_owned();
        Ok(Departure { machine, disks, console })
    };
    subject.call("compute_check_can_live_migrate_source", work).await
}

/// Makes ready for the guest, which is then awaited.
pub async fn pre(host: Host, request: PreLiveMigration) -> Result<Landing> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.call("compute_pre_live_migration", make_ready(&host, &request)).await
}

async fn make_ready(host: &Host, request: &PreLiveMigration) -> Result<Landing> {
    if !host.hypervisor.moves_guests() {
        return Err(Error::bad_request("Live migration is not supported by the hypervisor of the destination."));
    }
    let instance = read(host, &request.instance_id).await?;
    if instance.host.as_deref() == Some(host.name()) {
        return Err(Error::conflict(format!("Instance {} is on host {} already.", instance.id, host.name())));
    }
    // of an earlier attempt
    terminate::end_guest(host, &instance.id).await?;
    let mut undo = Undo::new();
    let ready = await_guest(host, request, instance, &mut undo).await;
    match &ready {
        Ok(_) => undo.commit(),
        Err(error) => {
            tracing::warn!(instance = request.instance_id, %error, "the guest cannot come here");
            let left = undo.unwind().await;
            if !left.is_empty() {
                tracing::error!(instance = request.instance_id, ?left, "parts of what was made ready are left");
            }
        }
    }
    ready
}

async fn await_guest(host: &Host, request: &PreLiveMigration, mut instance: Instance, undo: &mut Undo) -> Result<Landing> {
    let (caller, departure) = (&request.caller, &request.departure);
    let (again, request_id, was) = (host.clone(), caller.request_id.clone(), instance.clone());
    undo.push("guest and ports", move || async move {
        terminate::end_guest(&again, &was.id).await?;
        network::unbind_ahead(&again, &request_id, &was).await
    });
    network::bind_ahead(host, &caller.request_id, &instance).await?;
    let block_devices = volumes::connect_ahead(host, caller, &mut instance, undo).await?;
    Record { arriving: true, ..Record::load(host, &instance.id).await }.save(host, &instance.id).await?;
    let mirrors = match &host.store {
        Some(store) => landing::make(host, store, caller, &instance, &departure.disks).await?,
        None => Vec::new(),
    };
    let guest = disks::guest(host, &instance).await?;
    let taps = guest.nics.iter().map(|nic| nic.tap.clone()).collect();
    Record { arriving: true, taps, ..Record::default() }.save(host, &instance.id).await?;
    for nic in &guest.nics {
        host.hypervisor.plug(nic).await?;
    }
    if let Some(store) = &host.store {
        disks::keep_console(store, &instance.id, &departure.console).await?;
    }
    let awaited = Awaited {
        machine: departure.machine.clone(),
        address: host.config.host_ip.clone(),
        disks: mirrors.iter().map(|mirror| mirror.disk.clone()).collect(),
    };
    Ok(Landing { mirrors, block_devices, ..host.hypervisor.receive(guest, awaited).await? })
}

/// The guest leaves.
pub async fn live(host: Host, request: LiveMigration) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let slot = host.slot(&request.instance_id);
    // whoever asks again while it is under way does not take back what somebody wants of it
    let urge = slot.urge.subscribe();
    subject.call("compute_live_migration", leave(&host, &request, urge)).await
}

async fn leave(host: &Host, request: &LiveMigration, urge: tokio::sync::watch::Receiver<Urge>) -> Result<()> {
    let id = &request.instance_id;
    if host.hypervisor.state(id) == PowerState::NoState {
        return Ok(());
    }
    if let Some(store) = &host.store {
        nbd::end(&store.instances.join(id)).await?;
    }
    let record = Record::load(host, id).await;
    let begun = record.leaving.as_ref() == Some(&request.migration_id);
    Record { leaving: Some(request.migration_id.clone()), ..record }.save(host, id).await?;
    if !begun {
        host.slot(id).urge.send_replace(Urge::None);
    }
    let (progress, mut told) = tokio::sync::watch::channel(Progress::default());
    let telling = async {
        while told.changed().await.is_ok() {
            let now = *told.borrow_and_update();
            let message = MigrationProgress { migration_id: request.migration_id.clone(), progress: now };
            // the next one tells more
            let _ = host.bus.cast(TOPIC, message).await;
            tokio::time::sleep(BETWEEN).await;
        }
        std::future::pending::<()>().await
    };
    tokio::select! {
        moved = host.hypervisor.migrate(id, Journey { landing: request.landing.clone(), begun, urge, progress }) => moved,
        () = telling => Ok(()),
    }
}

/// The guest runs from here on, and its traffic comes here.
pub async fn land(host: Host, request: LandGuest) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        let bind = async {
            let instance = read(&host, &request.instance_id).await?;
            network::activate(&host, &request.caller.request_id, &instance).await
        };
        let (landed, bound) = tokio::join!(host.hypervisor.land(&request.instance_id, !request.paused), bind);
        if let Err(error) = bound {
            tracing::warn!(instance = request.instance_id, %error, "a guest's ports are not here yet; that is tried again");
        }
        landed
    };
    subject.call("compute_land_guest", work).await
}

/// The guest is here, or, after a migration that failed late, here again.
pub async fn post(host: Host, request: PostLiveMigration) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    subject.call("compute_post_live_migration", settle(&host, &request)).await
}

async fn settle(host: &Host, request: &PostLiveMigration) -> Result<()> {
    let request_id = &request.caller.request_id;
    let mut instance = host.must_have(&request.instance_id).await?;
    host.hypervisor.land(&instance.id, !request.paused).await?;
    network::activate(host, request_id, &instance).await?;
    instance.network_info = network::rebind(host, &request.caller, &instance).await?;
    let change = host.change(&instance.id);
    host.save(SaveInstance { network_info: Some(instance.network_info.clone()), block_devices: request.block_devices.clone(), ..change })
        .await?;
    let instance = host.must_have(&request.instance_id).await?;
    placing::claim(host, &instance).await?;
    volumes::complete_all(host, &request.caller, &instance).await?;
    if let Err(error) = network::wait_plugged(host, &host.slot(&instance.id), request_id, &instance.network_info).await {
        tracing::warn!(instance = instance.id, %error, "a guest has come, but its ports are not wired");
    }
    if !request.paused {
        host.hypervisor.announce(&instance.id).await?;
    }
    network::leave_other(host, request_id, &instance, &request.source_host).await?;
    let record = Record::load(host, &instance.id).await;
    Record { arriving: false, leaving: None, ..record }.save(host, &instance.id).await
}

/// The guest is another host's now: what it had here goes.
pub async fn forget(host: Host, request: ForgetDeparted) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        let instance = read(&host, &request.instance_id).await?;
        if instance.host.as_deref() == Some(host.name()) {
            return Err(Error::conflict(format!("Instance {} is not gone: it is on host {}.", instance.id, host.name())));
        }
        terminate::end_guest(&host, &instance.id).await?;
        network::unbind_ahead(&host, &request.caller.request_id, &instance).await?;
        end_attachments(&host, &request.caller, &request.attachments).await
    };
    subject.call("compute_forget_departed", work).await
}

/// The guest does not come, or goes back.
pub async fn rollback(host: Host, request: RollbackLiveMigration) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let work = async {
        let instance = read(&host, &request.instance_id).await?;
        terminate::end_guest(&host, &instance.id).await?;
        end_attachments(&host, &request.caller, &request.attachments).await?;
        network::unbind_ahead(&host, &request.caller.request_id, &instance).await
    };
    subject.call("compute_rollback_live_migration", work).await
}

async fn end_attachments(host: &Host, caller: &Caller, attachments: &[String]) -> Result<()> {
    let service = host.session.auth(&caller.request_id).await?;
    for attachment in attachments {
        sdk::found(host.cloud.volume.delete_attachment(&service, attachment).await)?;
    }
    Ok(())
}

/// What is wanted of the migration that is under way.
pub async fn urge(host: Host, request: UrgeLiveMigration) -> Result<()> {
    let slot = host.slot(&request.instance_id);
    if slot.urge.receiver_count() == 0 {
        return Err(Error::new(Kind::Conflict, format!("No migration of instance {} is under way here.", request.instance_id)));
    }
    if request.urge != Urge::None {
        slot.urge.send_replace(request.urge);
    }
    Ok(())
}
