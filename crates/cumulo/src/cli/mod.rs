//! What a person runs: `up`, and the commands that look after the cloud that it started.

mod api;
mod down;
mod explain;
mod hello;
mod host;
mod nova_manage;
mod status;
mod timeline;

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

pub use api::block_on;
use clap::{Parser, Subcommand};
use kit::db::Location;

use crate::config::Config;
use crate::roles::{Role, Roles};
use crate::state::StateDir;
use crate::up;

/// An OpenStack-compatible cloud in one process.
#[derive(Parser)]
#[command(version, about, max_term_width = 110)]
pub struct Arguments {
    /// Where the cloud keeps everything [default: /var/lib/cumulo as root, ~/.local/state/cumulo otherwise]
    #[arg(long, global = true, env = "CUMULO_STATE_DIR")]
    state_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the cloud and serve until SIGTERM; guests go on running after it
    Up {
        /// Configuration [default: cumulo.toml in the state directory, when there is one]
        #[arg(long)]
        config: Option<PathBuf>,
        /// The address the APIs listen on
        #[arg(long)]
        listen: Option<IpAddr>,
        /// The host name or address that clients are told
        #[arg(long)]
        public_host: Option<String>,
        /// Simulate this many hypervisors instead of using this machine; needs no root
        #[arg(long)]
        sim_hosts: Option<u32>,
        /// A qcow2 file to register as the image `cumulo-guest`
        #[arg(long)]
        guest_image: Option<PathBuf>,
        /// Be these parts of a cloud of several processes; all of it when absent
        #[arg(long = "role", value_delimiter = ',')]
        roles: Vec<Role>,
        /// Become a host of the cloud that this token is of: TOKEN@HOST:PORT, as `cumulo host add` printed it
        #[arg(long)]
        join: Option<String>,
    },
    /// Stop the cloud; guests go on
    Down {
        /// Stop the guests too
        #[arg(long)]
        guests: bool,
    },
    /// Tell whether the cloud answers; exit code 0 when all of it does
    Status,
    /// Boot a first guest `hello` that one can ssh to
    Hello,
    /// Remove everything the cloud made on this machine, and nothing else
    CleanState,
    /// Invite machines to be hosts of this cloud
    #[command(subcommand)]
    Host(HostCommand),
    /// Look at servers
    #[command(subcommand)]
    Server(ServerCommand),
    /// Look after the compute service
    #[command(subcommand)]
    NovaManage(NovaManageCommand),
    /// Look after the volume service
    #[command(subcommand)]
    CinderManage(CinderManageCommand),
    /// Look after the image service
    #[command(subcommand)]
    GlanceManage(GlanceManageCommand),
    /// Look after the identity service
    #[command(subcommand)]
    Keystone(KeystoneCommand),
}

#[derive(Subcommand)]
enum NovaManageCommand {
    /// Deleted servers: out of the way, or out of the world
    #[command(subcommand)]
    Db(nova_manage::Db),
}

#[derive(Subcommand)]
enum CinderManageCommand {
    /// Seal the keys of encrypted volumes with a new master key; the one before stays in its file until the next time
    RotateMasterKey,
}

#[derive(Subcommand)]
enum GlanceManageCommand {
    /// Bring back an image that was deleted and whose data is still there
    Restore {
        /// Its id
        image: String,
    },
}

#[derive(Subcommand)]
enum KeystoneCommand {
    /// Seal new tokens with a new key; those sealed before hold as long as their key is kept
    FernetRotate {
        /// Keys kept: one to come, one in use, and the rest for tokens sealed before
        #[arg(long, default_value_t = 3)]
        keep: usize,
    },
}

#[derive(Subcommand)]
enum HostCommand {
    /// Print the command by which a machine joins under this name
    Add {
        name: String,
        /// How long the machine may take to join
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
    /// Take a host's login away
    Remove { name: String },
}

#[derive(Subcommand)]
enum ServerCommand {
    /// Tell why a server is where it is, or nowhere: which filter left how many hosts, and which hosts refused
    Explain {
        /// Name or id
        server: String,
    },
    /// Draw who did what during a server's boot, and how long it took
    Timeline {
        /// Name or id
        server: String,
    },
}

/// Runs a command; an error is a sentence for the person who ran it.
pub fn run(arguments: Arguments) -> Result<ExitCode, String> {
    let path = arguments.state_dir.unwrap_or_else(StateDir::default_path);
    match arguments.command {
        Command::Up { config, listen, public_host, sim_hosts, guest_image, roles, join } => {
            up::run(&path, &up::Options { config, listen, public_host, sim_hosts, guest_image, roles: Roles::new(roles), join })?;
        }
        Command::Down { guests } => down::down(&StateDir::existing(&path)?, guests)?,
        Command::Status => return status::status(&StateDir::existing(&path)?),
        Command::Hello => hello::hello(&StateDir::existing(&path)?)?,
        Command::CleanState => match StateDir::existing(&path) {
            Ok(state) => down::clean_state(&state)?,
            Err(_) => say(&format!("There is nothing in {}.", path.display())),
        },
        Command::NovaManage(NovaManageCommand::Db(command)) => nova_manage::run(&StateDir::existing(&path)?, command)?,
        Command::CinderManage(CinderManageCommand::RotateMasterKey) => {
            let state = StateDir::existing(&path)?;
            let location = database(&state, "cinder")?;
            let master_key = state.shared(&last_config(&state)?).join(up::MASTER_KEY);
            let rotation = async { cinder::rotate_master_key(&location, &master_key).await.map_err(|error| error.to_string()) };
            let count = api::block_on(rotation).map_err(|error| format!("The master key cannot be rotated: {error}."))?;
            say(&format!("{count} keys are sealed with a new master key."));
        }
        Command::GlanceManage(GlanceManageCommand::Restore { image }) => {
            let location = database(&StateDir::existing(&path)?, "glance")?;
            let restoration = async { glance::restore(&location, &image).await.map_err(|error| error.to_string()) };
            api::block_on(restoration).map_err(|error| format!("The image is not brought back: {error}."))?;
            say("The image is back.");
        }
        Command::Keystone(KeystoneCommand::FernetRotate { keep }) => {
            let state = StateDir::existing(&path)?;
            let keys = state.shared(&last_config(&state)?).join("fernet-keys");
            keystone::rotate(&keys, keep).map_err(|error| format!("The keys cannot be rotated: {error}."))?;
            say("New tokens are sealed with a new key.");
        }
        Command::Host(HostCommand::Add { name, minutes }) => return host::add(&StateDir::existing(&path)?, &name, minutes),
        Command::Host(HostCommand::Remove { name }) => return host::remove(&StateDir::existing(&path)?, &name),
        Command::Server(ServerCommand::Explain { server }) => explain::explain(&StateDir::existing(&path)?, &server)?,
        Command::Server(ServerCommand::Timeline { server }) => timeline::timeline(&StateDir::existing(&path)?, &server)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration that the cloud was last started with.
fn last_config(state: &StateDir) -> Result<Config, String> {
    let effective = state.join("run/effective.toml");
    Config::load(effective.exists().then_some(effective.as_path()), &state.join(""))
}

/// A service's database as the cloud was last started with; only one that is there.
fn database(state: &StateDir, service: &str) -> Result<Location, String> {
    let location = up::location(state, &last_config(state)?, service);
    match &location {
        Location::Sqlite(file) if !file.exists() => Err(format!("There is no database {}.", file.display())),
        _ => Ok(location),
    }
}

/// A line for the person; a closed pipe is no error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Why a command failed.
pub fn complain(sentence: &str) {
    let _ = writeln!(std::io::stderr(), "cumulo: {sentence}");
}
