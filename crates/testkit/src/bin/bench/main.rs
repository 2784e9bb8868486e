//! `make bench`: Cumulo's figures, each beside its yardstick measured in the same run, as one JSON document on standard output.
//!
//! Usage: `bench CUMULO_BIN [GUEST_IMAGE]`. It starts clouds of its own on the standard ports, so it runs inside `scripts/in-netns`; progress goes
//! to standard error. With a guest image and root, real boots are measured too.

mod boots;
mod by_hand;
mod cloud;
mod guests;
mod hosts;
mod identity;
mod many;
mod ports;
mod reads;
mod startup;
mod taps;
mod traffic;
mod yardstick;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(binary) = arguments.next() else {
        let _ = writeln!(std::io::stderr(), "usage: bench CUMULO_BIN [GUEST_IMAGE]");
        return ExitCode::FAILURE;
    };
    match measure(&binary, arguments.next()) {
        Ok(document) => {
            let _ = writeln!(std::io::stdout(), "{document:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(binary: &std::path::Path, image: Option<PathBuf>) -> Outcome<serde_json::Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        note("startup");
        let startup = startup::measure(binary).await?;
        note("simulated boots");
        let cloud = cloud::Cloud::start(binary, &["--sim-hosts", "8"]).await?;
        let api = cloud.admin().await?;
        api.lift_quotas().await?;
        let boots = boots::measure(&api).await?;
        note("reads");
        let reads = reads::measure(&cloud, &api).await?;
        note("ports");
        let ports = ports::measure(&cloud, &api).await?;
        cloud.end().await?;
        note("identity");
        let identity = identity::measure(binary).await?;
        let hosts = hosts::measure(binary).await?;
        let many = many::measure(binary).await?;
        let taps = match nix::unistd::geteuid().is_root() {
            true => taps::measure(binary).await?,
            false => json!({"skipped": "needs root"}),
        };
        let guests = match image {
            Some(image) if nix::unistd::geteuid().is_root() => {
                note("real guests");
                guests::measure(binary, &image).await?
            }
            _ => json!({"skipped": "needs root and a guest image"}),
        };
        Ok(json!({
            "machine": {"cores": std::thread::available_parallelism().map_or(1, usize::from)},
            "startup": startup, "sim_boots": boots, "reads": reads, "identity": identity, "sim_hosts": hosts, "many_servers": many,
            "ports": ports, "taps": taps,
            "guests": guests,
        }))
    })
}

/// Says what is being measured.
fn note(what: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {what}");
}

/// The middle of some figures.
fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
