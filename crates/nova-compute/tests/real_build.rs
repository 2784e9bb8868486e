//! The host's half of a boot with a real guest under TCG: image downloaded and checked, disks, config drive, tap, QEMU; then the process that
//! built it is replaced by another, which finds it, and ends it.
//!
//! Needs root, for the tap (in a network namespace of the test's own), QEMU, and the image that `guest-image/` builds, named by
//! `CUMULO_GUEST_IMAGE`. Without them it says so and passes, but not in CI.

#![allow(clippy::unwrap_used)]

mod neighbours;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use neighbours::{Cloud, HOST, ID, instance};
use nova_compute::hypervisor::qemu::{AccelChoice, Qemu};
use nova_compute::hypervisor::sim::Sim;
use nova_compute::hypervisor::{Hypervisor, PowerState};
use rpc::compute::*;
use rpc::conductor::BuildOutcome;

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_real_guest_is_built_adopted_and_ended() {
    let image = std::env::var_os("CUMULO_GUEST_IMAGE").filter(|image| Path::new(image).exists());
    let Some(image) = image.filter(|_| nix::unistd::geteuid().is_root()) else {
        let sentence = "CUMULO_GUEST_IMAGE names no file, or we are not root, so no real guest was built.";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{sentence}");
        return println!("{sentence}");
    };
    // the runtime's threads begin after this one has left the machine's network
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(boot(std::fs::read(image).unwrap()));
}

async fn boot(image: Vec<u8>) {
    let state = tempfile::Builder::new().prefix("cumulo-build-test").tempdir().unwrap();
    let _nothing_left = CleanUp(state.path().to_owned());
    let mut wanted = instance();
    wanted.config_drive = true;
    wanted.hostname = "built-by-test".into();
    wanted.flavor = Flavor { ram_mb: 128, root_gb: 1, ephemeral_gb: 1, swap_mb: 16, ..wanted.flavor };

    let (cloud, qemu) = start(state.path(), wanted, image.clone()).await;
    let request = BuildInstance { caller: rpc::Caller::default(), instance_id: ID.into(), admin_password: Some("secret".into()) };
    cloud.bus.cast(&compute_topic(HOST), request).await.unwrap();
    let outcome = cloud.finished().await;
    assert!(matches!(outcome, BuildOutcome::Running), "{outcome:?}");
    let built = cloud.instance();
    let tap = built.network_info[0].device_name.clone();
    assert!(interfaces().contains(&tap));
    let dir = state.path().join("instances").join(ID);
    for disk in ["disk", "disk.eph0", "disk.swap", "disk.config"] {
        assert!(dir.join(disk).exists(), "{disk}");
    }
    until("the guest's report", async || qemu.console(ID).await.unwrap().contains("host=built-by-test")).await;
    let console = qemu.console(ID).await.unwrap();
    assert!(console.contains("datasource=config-drive"), "{console}");

    // another process takes over
    drop((cloud, qemu));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (cloud, qemu) = start(state.path(), built, image).await;
    until("adoption", async || qemu.state(ID) == PowerState::Running).await;
    let end = TerminateInstance { caller: rpc::Caller::default(), instance_id: ID.into() };
    cloud.bus.call(&compute_topic(HOST), end, DEADLINE).await.unwrap();
    assert_eq!(qemu.state(ID), PowerState::NoState);
    assert!(!interfaces().contains(&tap));
    assert!(!dir.exists());
}

/// Ends the guest also when the test fails.
struct CleanUp(PathBuf);

impl Drop for CleanUp {
    fn drop(&mut self) {
        nova_compute::cleanup(&self.0).unwrap();
    }
}

async fn start(state: &Path, instance: Instance, image: Vec<u8>) -> (Cloud, Arc<Qemu>) {
    let config = nova_compute::Config::new(HOST, state);
    let qemu = Qemu::open(AccelChoice::Tcg, state, &config.instances_dir()).await.unwrap();
    let cloud = Cloud::on(qemu.clone(), Arc::new(Sim::new()), config, instance, image).await;
    (cloud, qemu)
}

fn interfaces() -> Vec<String> {
    nix::net::if_::if_nameindex().unwrap().iter().map(|one| one.name().to_string_lossy().into_owned()).collect()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(180), "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
