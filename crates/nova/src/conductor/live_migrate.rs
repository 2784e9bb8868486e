//! A server moves to another host while it runs:
//!
//! ```text
//!   hold      -> what it has in placement is held by the migration       undo: it is given back; the server is as it was
//!   choose    -> the scheduler chooses and claims, or checks the host that was asked for
//!   prepare   -> the destination makes ready; else the next one          undo: it forgets what it made ready
//!   migrate   -> the guest leaves the source, and runs elsewhere         undo: the source has it again
//!   switch    -> the server belongs to the destination                   undo: to the source
//!   arrive    -> ports, volumes and guest are at the destination         undo: they are not
//!   finish    -> as it was, elsewhere; nothing is left at the source, and the old allocations are given back
//! ```
//!
//! The source keeps its guest, standing still, until all is well at the destination. But from the moment that it runs there, there is no way back:
//! what it does there would be undone under it. What fails then is tried again.

use std::time::Duration;

use kit::db::Json;
use kit::flow::{Flow, Step};
use kit::{Error, Kind, Result, steps};
use rpc::Caller;
use rpc::compute::{BlockDevice, compute_topic};
use rpc::conductor::SavedBlockDevice;
use rpc::live_migration::{
    ABORTED, DescribeGuest, ForgetDeparted, LandGuest, Landing, LiveMigration, MigrationProgress, PostLiveMigration, PreLiveMigration,
    RollbackLiveMigration, Urge, UrgeLiveMigration,
};
use rpc::scheduler::Destination;
use sea_orm::Set;
use serde::{Deserialize, Serialize};

use super::place::{self, Request};
use super::{alive, claims, gone, leftovers};
use crate::servers::instance::{ActiveModel, Model};
use crate::servers::states::{TaskState, VmState};
use crate::servers::store::{self, Guard};
use crate::{Nova, migrations, os_services};

/// What is going on meanwhile.
const TASKS: &[TaskState] = &[TaskState::Migrating];

/// How often a source is asked whether the guest is still on its way.
const LOOK: Duration = Duration::from_secs(10);
/// How long a host may take to forget a guest, or to say that it is on its way.
const WORD: Duration = Duration::from_secs(60);
/// Before a destination is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// How often a host that does not answer is asked.
const TRIES: usize = 30;

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct LiveMigrate {
    caller: Caller,
    instance_id: String,
    migration_id: String,
    source: String,
    source_node: Option<String>,
    /// The server's state before, and after.
    was: String,
    forced_host: Option<String>,
    destinations: Vec<Destination>,
    /// The guest has left its source.
    left: bool,
    /// How the destination awaits it.
    #[serde(default)]
    landing: Landing,
    /// Its volumes as the source reaches them.
    #[serde(default)]
    before: Vec<SavedBlockDevice>,
    /// It runs there, for all that is known.
    #[serde(default)]
    landed: bool,
    /// What could not be done there.
    #[serde(default)]
    trouble: Option<String>,
}

impl Flow for LiveMigrate {
    type App = Nova;
    const KIND: &'static str = "live_migration";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: hold / give_back, choose, prepare / forget, migrate / come_back, switch / switch_back, arrive / depart, finish]
    }
}

impl LiveMigrate {
    pub fn new(caller: Caller, server: &Model, source: &str, migration_id: &str, host: Option<String>) -> LiveMigrate {
        LiveMigrate {
            caller,
            instance_id: server.id.clone(),
            migration_id: migration_id.to_owned(),
            source: source.to_owned(),
            source_node: server.node.clone(),
            was: server.vm_state.clone(),
            forced_host: host,
            destinations: Vec::new(),
            left: false,
            landing: Landing::default(),
            before: Vec::new(),
            landed: false,
            trouble: None,
        }
    }

    async fn hold(&mut self, app: &Nova) -> Result<()> {
        alive(app, &self.instance_id).await?;
        place::hand_over(app, &self.instance_id, &self.migration_id, "MIGRATION").await
    }

    async fn give_back(&mut self, app: &Nova, error: &Error) -> Result<()> {
        if self.stays_there(app).await {
            self.switch(app).await?;
            self.arrive(app).await?;
            return self.finish(app).await;
        }
        place::take_back(app, &self.migration_id, &self.instance_id).await?;
        // an undo that was interrupted has only the words of what led to it
        let aborted = error.code.as_deref() == Some(ABORTED) || self.status(app).await?.as_deref() == Some("cancelled");
        let status = if aborted { "cancelled" } else { "error" };
        self.set_status(app, status).await?;
        let mut change = ActiveModel { vm_state: Set(self.was.clone()), ..Default::default() };
        if !aborted {
            change.fault = Set(Some(Json(store::stored(super::fault(error)))));
        }
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, true).await
    }

    async fn choose(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        let ignore_hosts = vec![self.source.clone()];
        let request = Request { flavor: server.flavor.0.clone(), ignore_hosts, forced_host: self.forced_host.clone() };
        self.destinations = place::choose(app, &self.caller, &server, request).await?;
        Ok(())
    }

    async fn prepare(&mut self, app: &Nova) -> Result<()> {
        let server = alive(app, &self.instance_id).await?;
        self.before = volumes(app, &self.instance_id).await?;
        let describe = DescribeGuest { caller: self.caller.clone(), instance_id: self.instance_id.clone() };
        let departure = app.bus.call(&compute_topic(&self.source), describe, app.config.action_timeout).await?;
        let mut refusal = Error::conflict("No valid host was found.");
        for (attempt, destination) in self.destinations.clone().into_iter().take(app.config.max_attempts).enumerate() {
            if attempt > 0 && !self.claim(app, &server, &destination).await? {
                continue;
            }
            let (caller, instance_id, source_host) = (self.caller.clone(), self.instance_id.clone(), self.source.clone());
            let message = PreLiveMigration { caller, instance_id, source_host, departure: departure.clone() };
            match app.bus.call(&compute_topic(&destination.host), message, app.config.action_timeout).await {
                Ok(landing) => {
                    self.landing = landing;
                    self.destinations.drain(..attempt);
                    return self.tell(app, &destination).await;
                }
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    async fn claim(&self, app: &Nova, server: &Model, destination: &Destination) -> Result<bool> {
        let devices = store::block_devices_of(app.db.read(), &server.id).await?;
        let resources = claims::resources(&server.flavor.0, &server.spec.0.image_properties, &devices);
        claims::claim(app, &server.id, (&server.project_id, &server.user_id), destination, &resources).await
    }

    /// Where it goes, unless it was cancelled before it began.
    async fn tell(&self, app: &Nova, destination: &Destination) -> Result<()> {
        let (id, to) = (self.migration_id.clone(), destination.clone());
        let going = app.db.write(move |tx| {
            Box::pin(async move {
                let change = migrations::ActiveModel {
                    status: Set("preparing".to_owned()),
                    dest_host: Set(Some(to.host)),
                    dest_node: Set(Some(to.node)),
                    ..Default::default()
                };
                migrations::change_from(tx, &id, &["queued", "preparing"], change).await
            })
        });
        if going.await? { Ok(()) } else { Err(aborted()) }
    }

    async fn forget(&mut self, app: &Nova, _: &Error) -> Result<()> {
        if self.stays_there(app).await {
            return Ok(());
        }
        let Some(destination) = self.destinations.first() else { return Ok(()) };
        let attachments = attachments(&self.landing.block_devices);
        let message = RollbackLiveMigration { caller: self.caller.clone(), instance_id: self.instance_id.clone(), attachments };
        match app.bus.call(&compute_topic(&destination.host), message, WORD).await {
            // a host that starts again ends what is not its own
            Err(error) if is_silence(&error) && !os_services::is_up(app, &destination.host).await? => {
                tracing::warn!(host = destination.host, %error, "a destination is lost, and what was made ready there with it");
                self.forget_elsewhere(app, &destination.host).await
            }
            done => done,
        }
    }

    /// What a destination that is lost would have given back to others.
    async fn forget_elsewhere(&self, app: &Nova, host: &str) -> Result<()> {
        let auth = app.session.auth(&self.caller.request_id).await?;
        for attachment in attachments(&self.landing.block_devices) {
            sdk::found(app.cloud.volume.delete_attachment(&auth, &attachment).await)?;
        }
        for port in app.cloud.network.ports_of(&auth, std::slice::from_ref(&self.instance_id)).await? {
            if port.host_id.as_deref() != Some(host) {
                app.cloud.network.unbind_ahead(&auth, &port.id, host).await?;
            }
        }
        Ok(())
    }

    async fn migrate(&mut self, app: &Nova) -> Result<()> {
        alive(app, &self.instance_id).await?;
        let id = self.migration_id.clone();
        let running = migrations::ActiveModel { status: Set("running".to_owned()), ..Default::default() };
        let going =
            app.db.write(move |tx| Box::pin(async move { migrations::change_from(tx, &id, &["preparing", "running"], running).await }));
        if !going.await? {
            return Err(aborted());
        }
        self.depart_from_source(app).await?;
        self.left = true;
        self.land(app).await
    }

    /// Only a destination that says that it cannot is believed not to run the guest.
    async fn land(&mut self, app: &Nova) -> Result<()> {
        let topic = compute_topic(&self.destination()?.host);
        for _ in 0..TRIES {
            let land = LandGuest { caller: self.caller.clone(), instance_id: self.instance_id.clone(), paused: self.paused() };
            match app.bus.call(&topic, land, WORD).await {
                Err(error) if is_silence(&error) => tracing::warn!(topic, %error, "whether a guest runs there is not known; asking again"),
                Err(error) => return Err(error),
                Ok(()) => break,
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.landed = true;
        Ok(())
    }

    /// Whether it must stay where it went: it runs there, and is not to be deleted.
    async fn stays_there(&self, app: &Nova) -> bool {
        self.landed && alive(app, &self.instance_id).await.is_ok()
    }

    /// Asks the source until it says how it ended: only the source knows, and a timeout is no answer.
    async fn depart_from_source(&self, app: &Nova) -> Result<()> {
        let topic = compute_topic(&self.source);
        for _ in 0..TRIES {
            let message = LiveMigration {
                caller: self.caller.clone(),
                instance_id: self.instance_id.clone(),
                migration_id: self.migration_id.clone(),
                dest_host: self.destination()?.host.clone(),
                landing: self.landing.clone(),
            };
            let departed = tokio::select! {
                departed = app.bus.call(&topic, message, app.config.transfer_timeout) => departed,
                () = self.until_unknown(app, &topic) => Err(Error::new(Kind::TimedOut, "The source does not know of the migration any more.")),
            };
            match departed {
                Err(error) if is_silence(&error) => {
                    tracing::warn!(host = self.source, %error, "the source does not say how a migration ended; asking again");
                    tokio::time::sleep(LOOK).await;
                }
                said => return said,
            }
        }
        Err(Error::new(Kind::TimedOut, format!("Host {} does not say how the migration ended.", self.source)))
    }

    /// Returns when the source, which was asked to let the guest go, does not do so any more: it was started again.
    async fn until_unknown(&self, app: &Nova, topic: &str) {
        let mut denied = 0;
        while denied < 2 {
            tokio::time::sleep(LOOK).await;
            let ask = UrgeLiveMigration { instance_id: self.instance_id.clone(), urge: Urge::None };
            match app.bus.call(topic, ask, LOOK).await {
                Err(error) if error.kind == Kind::Conflict => denied += 1,
                _ => denied = 0,
            }
        }
    }

    async fn come_back(&mut self, app: &Nova, error: &Error) -> Result<()> {
        // a guest that did not leave is there, and one that is to be deleted need not come back
        if self.landed || !self.left || alive(app, &self.instance_id).await.is_err() {
            return Ok(());
        }
        let arrival = self.arrival(self.destination()?.host.clone(), self.before.clone());
        // both at once must never run, so the other goes first
        self.forget(app, error).await?;
        app.bus.call(&compute_topic(&self.source), arrival, app.config.transfer_timeout).await
    }

    async fn switch(&mut self, app: &Nova) -> Result<()> {
        let to = self.destination()?.clone();
        let zone = app.hosts.zone_of(app, &to.host).await?;
        let change =
            ActiveModel { host: Set(Some(to.host)), node: Set(Some(to.node)), availability_zone: Set(Some(zone)), ..Default::default() };
        if store::save(app, &self.instance_id, Guard::alive(), change).await? { Ok(()) } else { Err(gone()) }
    }

    async fn switch_back(&mut self, app: &Nova, _: &Error) -> Result<()> {
        if self.stays_there(app).await {
            return Ok(());
        }
        let change = ActiveModel { host: Set(Some(self.source.clone())), node: Set(self.source_node.clone()), ..Default::default() };
        store::save(app, &self.instance_id, Guard::default(), change).await.map(drop)
    }

    async fn arrive(&mut self, app: &Nova) -> Result<()> {
        let topic = compute_topic(&self.destination()?.host);
        for _ in 0..TRIES {
            alive(app, &self.instance_id).await?;
            let message = self.arrival(self.source.clone(), self.landing.block_devices.clone());
            match app.bus.call(&topic, message, app.config.action_timeout).await {
                Ok(()) => {
                    self.trouble = None;
                    break;
                }
                Err(error) => {
                    tracing::warn!(topic, %error, "a guest is there, but not all that is its own; trying again");
                    self.trouble = Some(error.message);
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }

    async fn depart(&mut self, app: &Nova, error: &Error) -> Result<()> {
        self.forget(app, error).await
    }

    async fn finish(&mut self, app: &Nova) -> Result<()> {
        // the guest is there and stays: what placement does not hear of now is no reason to take it back
        if let Err(error) = claims::release(app, &self.migration_id).await {
            tracing::warn!(migration = self.migration_id, %error, "the allocations of a migration that is over are given back later");
            let id = self.migration_id.clone();
            app.db.write(move |tx| Box::pin(async move { leftovers::note(tx, &id).await })).await?;
        }
        if let Some(trouble) = &self.trouble {
            // what the source still has may be all there is
            self.set_status(app, "error").await?;
            let fault = super::fault(&Error::internal(trouble.clone()));
            let vm_state = Set(VmState::Error.word().to_owned());
            let change = ActiveModel { vm_state, fault: Set(Some(Json(store::stored(fault)))), ..Default::default() };
            return super::end_action(app, &self.caller, &self.instance_id, TASKS, change, true).await;
        }
        self.set_status(app, "completed").await?;
        let (caller, instance_id) = (self.caller.clone(), self.instance_id.clone());
        let message = ForgetDeparted { caller, instance_id, attachments: attachments(&self.before) };
        if let Err(error) = app.bus.call(&compute_topic(&self.source), message, WORD).await {
            // when it starts again it ends what is not its own
            tracing::warn!(host = self.source, %error, "the source did not hear that its guest is well elsewhere");
        }
        let change = ActiveModel { vm_state: Set(self.was.clone()), ..Default::default() };
        super::end_action(app, &self.caller, &self.instance_id, TASKS, change, false).await
    }

    fn paused(&self) -> bool {
        self.was == VmState::Paused.word()
    }

    fn arrival(&self, source_host: String, block_devices: Vec<SavedBlockDevice>) -> PostLiveMigration {
        let (caller, instance_id) = (self.caller.clone(), self.instance_id.clone());
        PostLiveMigration { caller, instance_id, source_host, paused: self.paused(), block_devices }
    }

    fn destination(&self) -> Result<&Destination> {
        self.destinations.first().ok_or_else(|| Error::internal("a migration without a destination"))
    }

    async fn status(&self, app: &Nova) -> Result<Option<String>> {
        Ok(migrations::load(app.db.read(), &self.migration_id).await?.map(|row| row.status))
    }

    async fn set_status(&self, app: &Nova, status: &'static str) -> Result<()> {
        let id = self.migration_id.clone();
        app.db.write(move |tx| Box::pin(async move { migrations::set_status(tx, &id, status).await })).await
    }
}

fn aborted() -> Error {
    Error::conflict("The migration was aborted.").code(ABORTED)
}

/// Nobody answered: what became of the request is unknown.
fn is_silence(error: &Error) -> bool {
    matches!(error.kind, Kind::TimedOut | Kind::Unavailable)
}

fn attachments(devices: &[SavedBlockDevice]) -> Vec<String> {
    devices.iter().filter_map(|device| device.attachment_id.clone()).collect()
}

/// A server's volumes as its host reaches them.
async fn volumes(app: &Nova, instance_id: &str) -> Result<Vec<SavedBlockDevice>> {
    let devices = store::block_devices_of(app.db.read(), instance_id).await?;
    let volumes = devices.into_iter().filter(|device| device.destination_type == "volume");
    let saved = |device: BlockDevice| SavedBlockDevice {
        bdm_id: device.bdm_id,
        device_name: device.device_name,
        volume_id: device.volume_id,
        attachment_id: device.attachment_id,
        connection_info: device.connection_info,
    };
    Ok(volumes.map(saved).collect())
}

/// The source says how far it is.
pub async fn progress(app: &Nova, message: MigrationProgress) -> Result<()> {
    let change = migrations::ActiveModel { progress: Set(Some(Json(message.progress))), ..Default::default() };
    let id = message.migration_id;
    app.db.write(move |tx| Box::pin(async move { migrations::change_from(tx, &id, &["running"], change).await })).await.map(drop)
}
