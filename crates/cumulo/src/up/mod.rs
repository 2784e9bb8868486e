//! `cumulo up`: from a configuration to a cloud that answers.
//!
//! Whatever can be refused is refused before anything is started: configuration, rights, programs, ports. Then the services are put
//! together, what every cloud begins with is made if it is not there, and the APIs are served until SIGTERM or SIGINT.

mod assemble;
mod capabilities;
mod first;
mod hosts;
mod late;
mod notify;
mod policies;
mod preflight;
mod settle;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kit::clock::Timestamp;
use kit::serve::serve;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use assemble::{MASTER_KEY, location};

use crate::apis::{Api, PUBLIC};
use crate::cli::{self, say};
use crate::config::Config;
use crate::join;
use crate::roles::Roles;
use crate::state::StateDir;
use crate::tls::Tls;

/// How long background work may take to come to rest after SIGTERM.
const REST: Duration = Duration::from_secs(10);

/// What the command line says; it goes before the file.
pub struct Options {
    pub config: Option<PathBuf>,
    pub listen: Option<IpAddr>,
    pub public_host: Option<String>,
    pub sim_hosts: Option<u32>,
    pub guest_image: Option<PathBuf>,
    pub roles: Roles,
    /// `TOKEN@HOST:PORT`
    pub join: Option<String>,
}

/// Runs the cloud to its end. An error is one sentence, and means that nothing was started.
pub fn run(path: &Path, options: &Options) -> Result<(), String> {
    let began = Instant::now();
    if let Some(invitation) = &options.join {
        cli::block_on(join::accept(&StateDir::create(path)?, invitation))?;
    }
    let mut config = effective(path, options)?;
    let roles = options.roles.beside(config.identity.url.is_some())?;
    let guest_image = options.guest_image.as_deref();
    preflight::check(&config, &roles, guest_image)?;
    let state = StateDir::create(path)?;
    let _lock = state.lock()?;
    Tls::trust(&mut config, &state)?;
    // before there is a second thread: what follows, and whatever it starts, has no more than this
    capabilities::keep(&config, &roles)?;
    kit::telemetry::init(&state.join("log"), &config.log).map_err(|error| format!("The log cannot be opened: {error}."))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(serve_until_told(&state, &config, &roles, guest_image, began));
    if let Err(sentence) = &outcome {
        tracing::error!("{sentence}");
    }
    // what still runs now is a blocking call that nobody waits for any more
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn effective(path: &Path, options: &Options) -> Result<Config, String> {
    let mut config = Config::load(options.config.as_deref(), path)?;
    if let Some(listen) = options.listen {
        config.listen = listen;
    }
    if options.public_host.is_some() {
        config.public_host.clone_from(&options.public_host);
    }
    if let Some(hosts) = options.sim_hosts {
        config.sim_hosts = hosts;
    }
    config.check()?;
    Ok(config)
}

async fn serve_until_told(
    state: &StateDir,
    config: &Config,
    roles: &Roles,
    guest_image: Option<&Path>,
    began: Instant,
) -> Result<(), String> {
    let sockets = Sockets::bind(config, roles).await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let secrets = state.secrets(config, roles)?;
    let tls = config.tls.serve(state, config)?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let cloud = assemble::assemble(state, config, roles, &secrets).await?;
    policies::watch(state, &cloud.services, &stop)?;
    first::bootstrap(&cloud, config, &secrets, guest_image).await?;
    cloud.begin(config, &stop, &tasks);
    sockets.serve(&cloud, tls.as_ref(), &stop, &tasks);
    let starting = Timestamp::now();
    let started = cloud.start_hosts(state, config, &secrets, tls, &stop, &tasks).await?;
    cloud.hear_of(&started, starting).await.map_err(|error| format!("{error}."))?;
    // whoever runs the keystone tells people how to log in
    let told_here = roles.control() && config.identity.url.is_none();
    if told_here {
        state.write_client_files(config, &secrets)?;
    }
    state.write("run/effective.toml", &toml::to_string(config).map_err(|error| error.to_string())?)?;
    state.write("cumulo.pid", &format!("{}\n", std::process::id()))?;
    say(&format!("Cumulo is ready after {:.2} s: {}", began.elapsed().as_secs_f64(), config.endpoint(Api::Keystone)));
    if told_here {
        say(&format!("source {}", state.join("openrc").display()));
    }
    tracing::info!(seconds = began.elapsed().as_secs_f64(), "ready");
    notify::notify("READY=1");
    tokio::spawn(settle::settle());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; guests go on");
    notify::notify("STOPPING=1");
    stop.cancel();
    tasks.close();
    let _ = tokio::time::timeout(REST, tasks.wait()).await;
    let _ = std::fs::remove_file(state.join("cumulo.pid"));
    Ok(())
}

/// Every API's socket, bound before anything is started, so that a taken port leaves nothing half-started.
struct Sockets(Vec<(Api, TcpListener)>);

impl Sockets {
    async fn bind(config: &Config, roles: &Roles) -> Result<Sockets, String> {
        let admin = ("keystone_admin", Api::Keystone, config.ports.keystone_admin);
        // simulated guests ask nothing
        let metadata = ("metadata", Api::Metadata, if config.sim_hosts > 0 { 0 } else { config.ports.metadata });
        // machines join a cloud that has a bus between machines
        let join = ("join", Api::Join, if config.bus.url.is_some() { config.ports.join } else { 0 });
        let wanted = PUBLIC.iter().map(|(name, api)| (*name, *api, config.ports.of(*api))).chain([admin, metadata, join]);
        let mut sockets = Vec::new();
        for (name, api, port) in wanted.filter(|(_, api, port)| *port != 0 && roles.serves(*api)) {
            // metadata is for this host's own proxies only
            let host = if matches!(api, Api::Metadata) { IpAddr::from([127, 0, 0, 1]) } else { config.listen };
            let address = SocketAddr::new(host, port);
            let socket = TcpListener::bind(address).await.map_err(|error| {
                format!("{address} cannot be listened on: {error}. Whatever has it must stop, or set ports.{name} in cumulo.toml to another port.")
            })?;
            sockets.push((api, socket));
        }
        Ok(Sockets(sockets))
    }

    fn serve(self, cloud: &assemble::Cloud, tls: Option<&kit::tls::Tls>, stop: &CancellationToken, tasks: &TaskTracker) {
        for (api, socket) in self.0 {
            if let Some(service) = cloud.services.get(api) {
                // metadata does not leave the host; a machine that joins believes nobody yet, and is answered under seal
                let tls = tls.filter(|_| !matches!(api, Api::Metadata | Api::Join)).cloned();
                tasks.spawn(serve(socket, service.clone(), tls, stop.clone()));
            }
        }
    }
}
