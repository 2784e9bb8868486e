//! The hosts of this process: this machine, or simulated ones. Each has a nova-compute, a neutron-agent and a cinder-volume, which talk to
//! the rest over the bus and the public APIs only.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cinder_volume::{RawBackend, VolumeBackend};
use kit::clock::Timestamp;
use kit::tls::Tls;
use nova_compute::hypervisor::Hypervisor;
use nova_compute::hypervisor::qemu::account::USER as QEMU_USER;
use nova_compute::hypervisor::qemu::{AccelChoice, Qemu};
use nova_compute::hypervisor::sim::Sim;
use rpc::network::Bandwidth;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assemble::{Cloud, ended};
use crate::config::Config;
use crate::network::PUBLIC;
use crate::roles::Role;
use crate::state::{Secrets, StateDir};
use crate::volumes::{Driver, FILE, SIM};

/// How long the start waits to hear of its hosts.
const HEARD: Duration = Duration::from_secs(10);
/// Between two looks, at first and later on.
const LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// What of the hosts was started, by the names they go by in nova, in neutron and in cinder.
#[derive(Default)]
pub struct Started {
    computes: Vec<String>,
    agents: Vec<String>,
    backends: Vec<String>,
}

impl Cloud {
    /// Waits until the services of this process have heard of the hosts that were started, for only then can they be given anything.
    /// Not for long: a host that cannot speak is no reason to have no cloud.
    pub async fn hear_of(&self, started: &Started, since: Timestamp) -> kit::Result<()> {
        let (began, mut pause) = (Instant::now(), LOOKS.0);
        while !self.has_heard_of(started, since).await? {
            if began.elapsed() > HEARD {
                tracing::warn!("not all hosts have said that they live");
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOKS.1);
        }
        Ok(())
    }

    async fn has_heard_of(&self, started: &Started, since: Timestamp) -> kit::Result<bool> {
        let all = |heard: Vec<String>, started: &[String]| {
            let heard: HashSet<String> = heard.into_iter().collect();
            started.iter().all(|host| heard.contains(host))
        };
        Ok(match &self.nova {
            Some(nova) => all(nova.hosts_heard(since).await?, &started.computes),
            None => true,
        } && match &self.neutron {
            Some(neutron) => all(neutron.hosts_heard(since).await?, &started.agents),
            None => true,
        } && match &self.cinder {
            Some(cinder) => all(cinder.hosts_heard(since).await?, &started.backends),
            None => true,
        })
    }

    /// Starts the hosts' parts; they run until `stop`, and the guests after it.
    pub async fn start_hosts(
        &self,
        state: &StateDir,
        config: &Config,
        secrets: &Secrets,
        tls: Option<Tls>,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Started, String> {
        let mut starting = Starting { cloud: self, state: state.path(), config, secrets, tls, stop, tasks, started: Started::default() };
        if config.sim_hosts > 0 {
            starting.simulated()?;
        } else {
            starting.machine().await?;
        }
        Ok(starting.started)
    }
}

fn shared(backend: impl VolumeBackend) -> Arc<dyn VolumeBackend> {
    Arc::new(backend)
}

fn unopened(name: &str, error: &kit::Error) -> String {
    format!("The backend {name} cannot be opened: {error}")
}

/// The start of the hosts' parts: what all of them are made from, and what was started.
struct Starting<'a> {
    cloud: &'a Cloud,
    state: &'a Path,
    config: &'a Config,
    secrets: &'a Secrets,
    /// For consoles.
    tls: Option<Tls>,
    stop: &'a CancellationToken,
    tasks: &'a TaskTracker,
    started: Started,
}

impl Starting<'_> {
    /// This machine as a host, in the roles that this process has.
    async fn machine(&mut self) -> Result<(), String> {
        let host = self.config.host();
        if self.cloud.roles.has(Role::NovaCompute) {
            let accel = match self.config.compute.accel.as_str() {
                "kvm" => AccelChoice::Kvm,
                "tcg" => AccelChoice::Tcg,
                _ => AccelChoice::Auto,
            };
            let qemu = Qemu::open(accel, self.state, &self.state.join("instances")).await.map_err(|error| error.to_string())?;
            self.compute(&host, qemu)?;
        }
        if self.cloud.roles.has(Role::NeutronAgent) {
            let settings = self.machine_agent(&host)?;
            let dataplane = neutron_agent::Linux::new(settings.clone()).map_err(|error| error.to_string())?;
            self.agent(settings, dataplane);
        }
        if self.cloud.roles.has(Role::CinderVolume) {
            self.backends(&host)?;
        }
        Ok(())
    }

    /// As many simulated hosts as the configuration wants. Their volumes are all at the first.
    fn simulated(&mut self) -> Result<(), String> {
        let names: Vec<String> = (1..=self.config.sim_hosts).map(|n| simulated(self.config, n)).collect();
        for host in &names {
            if self.cloud.roles.has(Role::NovaCompute) {
                self.compute(host, Arc::new(Sim::new()))?;
            }
            if self.cloud.roles.has(Role::NeutronAgent) {
                self.agent(self.agent_settings(host), neutron_agent::Sim::default());
            }
        }
        if let (true, Some(host)) = (self.cloud.roles.has(Role::CinderVolume), names.first()) {
            let further = self.config.volumes.backends.iter().map(|backend| &*backend.name);
            for name in std::iter::once(SIM).chain(further) {
                self.volumes(host, name, Arc::new(cinder_volume::SimBackend::default()));
            }
        }
        Ok(())
    }

    /// The places for volumes that this machine has: the state directory, and those that are configured.
    fn backends(&mut self, host: &str) -> Result<(), String> {
        let volumes = &self.config.volumes;
        let basics = cinder_volume::Basics {
            state_dir: self.state.to_owned(),
            keys: cinder_volume::Keys(Some(self.cloud.bus.clone())),
            shelf: volumes.shelf()?,
            qemu_user: Some(QEMU_USER.to_owned()),
            address: self.config.address,
            ceph: cinder_volume::CephDir(volumes.ceph_directory.clone()),
        };
        let files = cinder_volume::FileBackend::open(basics.clone()).map_err(|error| unopened(FILE, &error))?;
        self.volumes(host, FILE, Arc::new(files));
        for backend in &volumes.backends {
            let basics = cinder_volume::Basics { state_dir: backend.directory(self.state), ..basics.clone() };
            let opened = match backend.driver {
                Driver::File => cinder_volume::FileBackend::open(basics).map(shared),
                Driver::Rbd => RawBackend::open(basics, cinder_volume::Rbd::new(backend.rbd(&volumes.ceph_directory))).map(shared),
                Driver::Lvm => RawBackend::open(basics, cinder_volume::Lvm::new(backend.lvm())).map(shared),
            };
            self.volumes(host, &backend.name, opened.map_err(|error| unopened(&backend.name, &error))?);
        }
        Ok(())
    }

    fn compute(&mut self, host: &str, hypervisor: Arc<dyn Hypervisor>) -> Result<(), String> {
        let vendor_data = self.config.compute.vendor_data(&self.cloud.sessions.nova)?;
        let settings = nova_compute::Config {
            host_ip: self.config.address(),
            tls: self.tls.clone(),
            vendor_data,
            config_drive_format: self.config.compute.config_drive_format,
            numa: self.config.compute.numa()?,
            ceph_directory: self.config.volumes.ceph_directory.clone(),
            vif_plugging_timeout: Duration::from_secs(self.config.compute.vif_plugging_timeout),
            ..nova_compute::Config::new(host, self.state)
        };
        let Cloud { bus, apis, sessions, .. } = self.cloud;
        let running = nova_compute::run(settings, bus.clone(), hypervisor, apis.clone(), sessions.nova.clone(), self.stop.clone());
        self.tasks.spawn(async move { ended("nova-compute", running.await) });
        self.started.computes.push(host.to_owned());
        Ok(())
    }

    fn agent(&mut self, settings: neutron_agent::Config, dataplane: impl neutron_agent::Dataplane) {
        self.started.agents.push(settings.host.clone());
        let (running, stop) = (neutron_agent::run(settings, self.cloud.bus.clone(), dataplane), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                outcome = running => ended("neutron-agent", outcome),
                _ = stop.cancelled() => {}
            }
        });
    }

    fn volumes(&mut self, host: &str, name: &str, backend: Arc<dyn VolumeBackend>) {
        let settings = self.config.volumes.settings(host, name);
        self.started.backends.push(settings.host.clone());
        let Cloud { bus, apis, sessions, .. } = self.cloud;
        let running = cinder_volume::run(settings, bus.clone(), backend, apis.image.clone(), sessions.cinder.clone(), self.stop.clone());
        self.tasks.spawn(async move { ended("cinder-volume", running.await) });
    }

    /// What every agent is told, on a real host or a simulated one.
    fn agent_settings(&self, host: &str) -> neutron_agent::Config {
        let network = &self.config.network;
        let each_way = |kbps| (PUBLIC.to_owned(), Bandwidth { egress_kbps: kbps, ingress_kbps: kbps });
        let mut settings = neutron_agent::Config::new(host, self.state, &self.secrets.metadata_secret);
        settings.bandwidths = network.external_bandwidth.map(each_way).into_iter().collect();
        settings.packet_rate = network.packet_rate;
        settings
    }

    /// What the agent of this machine is told.
    fn machine_agent(&self, host: &str) -> Result<neutron_agent::Config, String> {
        let network = &self.config.network;
        let mut settings = self.agent_settings(host);
        settings.physical_networks.extend(network.of_machine()?);
        settings.vtep = network.vtep.or(self.config.address);
        settings.masquerade_external = network.masquerade;
        settings.dnsmasq_dns_servers.clone_from(&network.dnsmasq_dns_servers);
        settings.metadata_upstream = SocketAddr::from(([127, 0, 0, 1], self.config.ports.metadata));
        Ok(settings)
    }
}

/// Simulated hosts are `sim-1`, `sim-2`; where this process is one machine among several, they go by its name.
fn simulated(config: &Config, n: u32) -> String {
    match &config.host {
        Some(host) if config.sim_hosts == 1 => host.clone(),
        Some(host) => format!("{host}-{n}"),
        None => format!("sim-{n}"),
    }
}
