//! What every operation on this host stands on: who it asks, and who else works on the same instance.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use kit::auth::ServiceSession;
use kit::bus::Bus;
use kit::{Error, Kind, Result};
use rpc::Message;
use rpc::compute::{ExternalEvent, Instance};
use rpc::conductor::{self, Fault, GetInstance, SaveInstance, Saved};
use rpc::live_migration::Urge;
use sdk::Cloud;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::config_drive;
use crate::consoles::{Consoles, Pages};
use crate::hypervisor::Hypervisor;
use crate::hypervisor::qemu::account::Account;
use crate::image::cache::ImageCache;
use crate::instances::network::Known;
use crate::numa::Numa;

/// How long conductor may take to answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// The host. Cheap to clone.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

pub struct Inner {
    pub config: Config,
    pub bus: Bus,
    pub cloud: Cloud,
    /// Nova's own login, for what users may not do.
    pub session: ServiceSession,
    pub hypervisor: Arc<dyn Hypervisor>,
    pub consoles: Consoles,
    /// What of its NUMA nodes guests have.
    pub numa: Numa,
    /// Present where guests have disks.
    pub store: Option<Store>,
    /// Something happened that conductor should hear of before the next report is due.
    pub report_now: Notify,
    /// Networks that guests came to lately.
    pub networks: Known,
    slots: Mutex<HashMap<String, Weak<Slot>>>,
}

/// Where disks come from and go to.
pub struct Store {
    pub images: ImageCache,
    pub account: Account,
    pub instances: PathBuf,
    pub drive_format: config_drive::Format,
}

impl Store {
    pub fn open(instances: PathBuf, account: Account, drive_format: config_drive::Format) -> Result<Store> {
        Ok(Store { images: ImageCache::open(instances.join("_base"), account)?, account, instances, drive_format })
    }
}

impl Store {
    /// An empty file that guests' programs may fill.
    pub async fn prepare(&self, path: &std::path::Path) -> Result<()> {
        tokio::fs::write(path, []).await?;
        self.account.own(path)
    }
}

/// What operations on one instance share.
#[derive(Default)]
pub struct Slot {
    /// Held by the one that works on it.
    pub turn: tokio::sync::Mutex<()>,
    /// Ends a build under way, because the server is to go.
    pub gone: CancellationToken,
    /// Ports that neutron says are wired.
    pub plugged: watch::Sender<HashSet<String>>,
    /// What is wanted of the migration under way.
    pub urge: watch::Sender<Urge>,
}

impl std::ops::Deref for Host {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Host {
    pub fn new(
        config: Config,
        bus: Bus,
        cloud: Cloud,
        session: ServiceSession,
        hypervisor: Arc<dyn Hypervisor>,
        store: Option<Store>,
        numa: Numa,
    ) -> Host {
        let pages = Pages::new(&config.state_dir);
        let consoles = Consoles::new(config.host_ip.clone(), config.console_port, config.tls.clone(), pages);
        let (report_now, networks, slots) = (Notify::new(), Known::default(), Mutex::default());
        Host(Arc::new(Inner { config, bus, cloud, session, hypervisor, consoles, numa, store, report_now, networks, slots }))
    }

    pub fn name(&self) -> &str {
        &self.config.host
    }

    /// Asks conductor.
    pub async fn ask<M: Message>(&self, message: M) -> Result<M::Reply> {
        self.bus.call(conductor::TOPIC, message, DEADLINE).await
    }

    /// The instance, if it is this host's.
    pub async fn instance(&self, id: &str) -> Result<Option<Instance>> {
        let instance = self.ask(GetInstance { instance_id: id.to_owned() }).await?;
        Ok(instance.filter(|instance| instance.host.as_deref() == Some(self.name())))
    }

    /// The same for operations that make no sense without it.
    pub async fn must_have(&self, id: &str) -> Result<Instance> {
        self.instance(id).await?.ok_or_else(|| Error::not_found(format!("Instance {id} could not be found.")))
    }

    /// A change to an instance, to be filled in.
    pub fn change(&self, instance_id: &str) -> SaveInstance {
        SaveInstance { instance_id: instance_id.to_owned(), host: self.name().to_owned(), ..SaveInstance::default() }
    }

    /// Saves a change. An error when the server is gone, or another action owns it.
    pub async fn save(&self, change: SaveInstance) -> Result<()> {
        let id = change.instance_id.clone();
        match self.ask(change).await? {
            Saved::Saved => Ok(()),
            Saved::Gone => Err(Error::new(Kind::Gone, format!("Instance {id} is being deleted."))),
            Saved::Conflict => Err(Error::conflict(format!("Another action owns instance {id}."))),
        }
    }

    /// What operations on an instance share; the same for all who ask at the same time.
    pub fn slot(&self, instance_id: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(instance_id).and_then(Weak::upgrade) {
            return slot;
        }
        slots.retain(|_, slot| slot.strong_count() > 0);
        let slot = Arc::new(Slot::default());
        slots.insert(instance_id.to_owned(), Arc::downgrade(&slot));
        slot
    }

    /// Whether somebody works on an instance now, so that what can be seen of it means nothing.
    pub fn is_busy(&self, instance_id: &str) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(instance_id).and_then(Weak::upgrade).is_some_and(|slot| slot.turn.try_lock().is_err())
    }

    /// Neutron (by way of nova) tells of a port. Only those who wait for it now need to know: others ask neutron.
    pub fn external_event(&self, event: &ExternalEvent) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = slots.get(&event.instance_id).and_then(Weak::upgrade) else { return };
        if let ("network-vif-plugged", Some(port)) = (event.name.as_str(), &event.tag) {
            slot.plugged.send_if_modified(|plugged| plugged.insert(port.clone()));
        }
    }
}

/// An error as the server shows it: the user's own mistakes in their words, ours with the code 500.
pub fn fault(error: &Error) -> Fault {
    let code = if is_users(error) { error.kind.status().as_u16() } else { 500 };
    Fault { code, message: error.message.clone(), details: error.to_string() }
}

/// Whether the request cannot be fulfilled, on whichever host.
pub fn is_users(error: &Error) -> bool {
    error.kind.status().is_client_error()
}
