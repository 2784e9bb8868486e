//! `make bench`: Cumulo's figures, each beside its yardstick measured in the same run, as one JSON document on standard output.
//!
//! Usage: `bench CUMULO_BIN GUEST_IMAGE [SECTION...]`; without sections all of them. It starts clouds of its own on the standard ports, so it
//! runs inside `scripts/in-netns`; progress goes to standard error. With root the machine's own networks are measured too, and real boots.

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
mod schedulers;
mod sections;
mod startup;
mod taps;
mod traffic;
mod volumes;
mod yardstick;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sections::Sections;
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(binary), Some(image)) = (arguments.next().map(PathBuf::from), arguments.next().map(PathBuf::from)) else {
        let _ = writeln!(std::io::stderr(), "usage: bench CUMULO_BIN GUEST_IMAGE [SECTION...]");
        return ExitCode::FAILURE;
    };
    match measure(&binary, &image, arguments.collect()) {
        Ok(sections) => {
            let _ = writeln!(std::io::stdout(), "{:#}", sections.document());
            if sections.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(binary: &Path, image: &Path, wanted: Vec<String>) -> Outcome<Sections> {
    let mut sections = Sections::new(wanted)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        sections.put("machine", json!({"cores": std::thread::available_parallelism().map_or(1, usize::from)}));
        sections.take("startup", startup::measure(binary)).await;
        shared(binary, &mut sections).await?;
        sections.take("identity", identity::measure(binary)).await;
        sections.take("sim_hosts", hosts::measure(binary)).await;
        sections.take("schedulers", schedulers::measure(binary)).await;
        sections.take("many_servers", many::measure(binary)).await;
        if nix::unistd::geteuid().is_root() {
            sections.take("taps", taps::measure(binary)).await;
            sections.take("guests", guests::measure(binary, image)).await;
        } else {
            sections.put("skipped", json!("real networks and guests need root"));
        }
        Ok(sections)
    })
}

/// The figures that share one cloud with simulated hosts.
async fn shared(binary: &Path, sections: &mut Sections) -> Outcome<()> {
    if !["sim_boots", "reads", "ports", "images", "sim_volumes"].iter().any(|name| sections.wants(name)) {
        return Ok(());
    }
    let cloud = cloud::Cloud::start(binary, &["--sim-hosts", "8"]).await?;
    let api = cloud.admin().await?;
    api.lift_quotas().await?;
    sections.take("sim_boots", boots::measure(&cloud, &api)).await;
    sections.take("reads", reads::measure(&cloud, &api)).await;
    sections.take("ports", ports::measure(&cloud, &api)).await;
    sections.take("images", images::measure(&cloud, &api)).await;
    sections.take("sim_volumes", volumes::simulated(&api)).await;
    cloud.end().await
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
