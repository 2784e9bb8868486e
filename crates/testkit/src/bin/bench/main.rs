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
mod images;
mod many;
mod ports;
mod reads;
mod startup;
mod taps;
mod traffic;
mod volumes;
mod yardstick;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

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

fn measure(binary: &Path, image: Option<PathBuf>) -> Outcome<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let machine = json!({"cores": std::thread::available_parallelism().map_or(1, usize::from)});
        let mut figures = Map::from_iter([("machine".to_owned(), machine)]);
        note("startup");
        figures.insert("startup".into(), startup::measure(binary).await?);
        figures.extend(simulated(binary).await?);
        figures.extend(real(binary, image).await?);
        Ok(figures.into())
    })
}

/// Figures of clouds with simulated hosts: first those that share one, then those that want one of their own.
async fn simulated(binary: &Path) -> Outcome<Map<String, Value>> {
    let mut figures = Map::new();
    let cloud = cloud::Cloud::start(binary, &["--sim-hosts", "8"]).await?;
    let api = cloud.admin().await?;
    api.lift_quotas().await?;
    note("simulated boots");
    figures.insert("sim_boots".into(), boots::measure(&api).await?);
    note("reads");
    figures.insert("reads".into(), reads::measure(&cloud, &api).await?);
    note("ports");
    figures.insert("ports".into(), ports::measure(&cloud, &api).await?);
    note("images");
    figures.insert("images".into(), images::measure(&cloud, &api).await?);
    note("simulated volumes");
    figures.insert("sim_volumes".into(), volumes::simulated(&api).await?);
    cloud.end().await?;
    note("identity");
    figures.insert("identity".into(), identity::measure(binary).await?);
    note("many hosts");
    figures.insert("sim_hosts".into(), hosts::measure(binary).await?);
    note("many servers");
    figures.insert("many_servers".into(), many::measure(binary).await?);
    Ok(figures)
}

/// Figures of this machine's own networks and guests, as far as it can have any.
async fn real(binary: &Path, image: Option<PathBuf>) -> Outcome<Map<String, Value>> {
    let mut figures = Map::new();
    if !nix::unistd::geteuid().is_root() {
        figures.insert("skipped".into(), "real networks and guests need root".into());
        return Ok(figures);
    }
    note("taps");
    figures.insert("taps".into(), taps::measure(binary).await?);
    if let Some(image) = image {
        note("real guests");
        figures.insert("guests".into(), guests::measure(binary, &image).await?);
    }
    Ok(figures)
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
