//! The host's half of a boot with a real guest under TCG: image downloaded and checked, disks, config drive, tap, QEMU; then the process that
//! built it is replaced by another, which finds it, and ends it.
//!
//! Needs root, for the tap (in a network namespace of the test's own), QEMU, and the image that `guest-image/` builds, named by
//! `CUMULO_GUEST_IMAGE`. Without them it says so and passes, but not in CI.

#![allow(clippy::unwrap_used)]

mod neighbours;

use std::time::Duration;

use neighbours::real::{CleanUp, start, until, with_image};
use neighbours::{HOST, ID, instance};
use nova_compute::hypervisor::{Hypervisor, PowerState};
use rpc::compute::*;
use rpc::conductor::BuildOutcome;

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_real_guest_is_built_adopted_and_ended() {
    with_image(boot);
}

async fn boot(image: Vec<u8>) {
    let state = tempfile::Builder::new().prefix("cumulo-build-test").tempdir().unwrap();
    let _nothing_left = CleanUp(state.path().to_owned());
    let mut wanted = instance();
    wanted.config_drive = true;
    wanted.hostname = "built-by-test".into();
    wanted.flavor = Flavor { ram_mb: 128, root_gb: 1, ephemeral_gb: 1, swap_mb: 16, ..wanted.flavor };

    let (cloud, qemu) = start(state.path(), wanted, image.clone()).await;
    let request =
        BuildInstance { caller: rpc::Caller::default(), instance_id: ID.into(), admin_password: Some("secret".into()), answer_to: None };
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

fn interfaces() -> Vec<String> {
    nix::net::if_::if_nameindex().unwrap().iter().map(|one| one.name().to_string_lossy().into_owned()).collect()
}
