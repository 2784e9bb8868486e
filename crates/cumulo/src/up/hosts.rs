//! The hosts of this process: this machine, or simulated ones. Each has a nova-compute, a neutron-agent and a cinder-volume, which talk to
//! the rest over the bus and the public APIs only.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::clock::Timestamp;
use nova_compute::hypervisor::Hypervisor;
use nova_compute::hypervisor::qemu::account::USER as QEMU_USER;
use nova_compute::hypervisor::qemu::{AccelChoice, Qemu};
use nova_compute::hypervisor::sim::Sim;
use rpc::network::Bandwidth;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::assemble::{Cloud, ended};
use crate::config::Config;
use crate::roles::Role;
use crate::state::{Secrets, StateDir};
use crate::volumes::{FILE, SIM};

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
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Started, String> {
        if config.sim_hosts > 0 {
            return Ok(self.start_simulated(state, config, secrets, stop, tasks));
        }
        let mut started = Started::default();
        let host = config.host();
        if self.roles.has(Role::NovaCompute) {
            let choice = match config.compute.accel.as_str() {
                "kvm" => AccelChoice::Kvm,
                "tcg" => AccelChoice::Tcg,
                _ => AccelChoice::Auto,
            };
            let qemu = Qemu::open(choice, state.path(), &state.join("instances")).await.map_err(|error| error.to_string())?;
            self.start_compute(compute_settings(&host, state.path(), config), qemu, stop, tasks);
            started.computes.push(host.clone());
        }
        if self.roles.has(Role::NeutronAgent) {
            let agent = agent_settings(&host, state.path(), config, secrets)?;
            let dataplane = neutron_agent::Linux::new(agent.clone()).map_err(|error| error.to_string())?;
            self.start_agent(agent, dataplane, stop, tasks);
            started.agents.push(host.clone());
        }
        if self.roles.has(Role::CinderVolume) {
            let shelf = config.volumes.shelf()?;
            let further = config.volumes.backends.iter().map(|backend| (&*backend.name, backend.directory(state.path())));
            for (name, directory) in std::iter::once((FILE, state.path().to_owned())).chain(further) {
                let volumes = cinder_volume::FileConfig {
                    state_dir: directory,
                    keys: cinder_volume::Keys(Some(self.bus.clone())),
                    shelf: shelf.clone(),
                    qemu_user: Some(QEMU_USER.to_owned()),
                    address: config.address,
                };
                let backend =
                    cinder_volume::FileBackend::open(volumes).map_err(|error| format!("The backend {name} cannot be opened: {error}"))?;
                let settings = config.volumes.settings(&host, name);
                started.backends.push(settings.host.clone());
                self.start_volumes(settings, Arc::new(backend), stop, tasks);
            }
        }
        Ok(started)
    }

    fn start_simulated(
        &self,
        state: &StateDir,
        config: &Config,
        secrets: &Secrets,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Started {
        let mut started = Started::default();
        let names: Vec<String> = (1..=config.sim_hosts).map(|n| simulated(config, n)).collect();
        for host in &names {
            if self.roles.has(Role::NovaCompute) {
                self.start_compute(compute_settings(host, state.path(), config), Arc::new(Sim::new()), stop, tasks);
                started.computes.push(host.clone());
            }
            if self.roles.has(Role::NeutronAgent) {
                let mut agent = neutron_agent::Config::new(host, state.path(), &secrets.metadata_secret);
                agent.bandwidths = bandwidths(config);
                agent.packet_rate = config.network.packet_rate;
                self.start_agent(agent, neutron_agent::Sim, stop, tasks);
                started.agents.push(host.clone());
            }
        }
        if let (true, Some(host)) = (self.roles.has(Role::CinderVolume), names.first()) {
            for name in std::iter::once(SIM).chain(config.volumes.backends.iter().map(|backend| &*backend.name)) {
                let settings = config.volumes.settings(host, name);
                started.backends.push(settings.host.clone());
                self.start_volumes(settings, Arc::new(cinder_volume::SimBackend::default()), stop, tasks);
            }
        }
        started
    }

    fn start_compute(
        &self,
        settings: nova_compute::Config,
        hypervisor: Arc<dyn Hypervisor>,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        let running =
            nova_compute::run(settings, self.bus.clone(), hypervisor, self.apis.clone(), self.sessions.nova.clone(), stop.clone());
        tasks.spawn(async move { ended("nova-compute", running.await) });
    }

    fn start_agent(
        &self,
        settings: neutron_agent::Config,
        dataplane: impl neutron_agent::Dataplane,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        let (running, stop) = (neutron_agent::run(settings, self.bus.clone(), dataplane), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                outcome = running => ended("neutron-agent", outcome),
                _ = stop.cancelled() => {}
            }
        });
    }

    fn start_volumes(
        &self,
        settings: cinder_volume::Config,
        backend: Arc<dyn cinder_volume::VolumeBackend>,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) {
        let images = self.apis.image.clone();
        let running = cinder_volume::run(settings, self.bus.clone(), backend, images, self.sessions.cinder.clone(), stop.clone());
        tasks.spawn(async move { ended("cinder-volume", running.await) });
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

fn compute_settings(host: &str, state: &Path, config: &Config) -> nova_compute::Config {
    nova_compute::Config {
        host_ip: config.address(),
        vif_plugging_timeout: Duration::from_secs(config.compute.vif_plugging_timeout),
        ..nova_compute::Config::new(host, state)
    }
}

fn agent_settings(host: &str, state: &Path, config: &Config, secrets: &Secrets) -> Result<neutron_agent::Config, String> {
    let mut settings = neutron_agent::Config::new(host, state, &secrets.metadata_secret);
    let length = config.network.external_cidr.split_once('/').map_or("24", |(_, length)| length);
    let gateway = format!("{}/{length}", config.network.external_gateway);
    let gateway = gateway.parse().map_err(|_| format!("network.external_gateway: {gateway} is no address with a prefix."))?;
    settings
        .physical_networks
        .insert("public".into(), neutron_agent::External { gateway: vec![gateway], interface: config.network.external_interface.clone() });
    settings.bandwidths = bandwidths(config);
    settings.packet_rate = config.network.packet_rate;
    settings.vtep = config.network.vtep.or(config.address);
    settings.masquerade_external = config.network.masquerade;
    settings.metadata_upstream = SocketAddr::from(([127, 0, 0, 1], config.ports.metadata));
    Ok(settings)
}

/// What guests may be promised of the external network.
fn bandwidths(config: &Config) -> BTreeMap<String, Bandwidth> {
    let each_way = |kbps| ("public".to_owned(), Bandwidth { egress_kbps: kbps, ingress_kbps: kbps });
    config.network.external_bandwidth.map(each_way).into_iter().collect()
}
