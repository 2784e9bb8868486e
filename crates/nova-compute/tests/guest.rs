//! A real guest through the driver, under TCG, without network: made, run, spoken to, found again, ended.
//!
//! Needs QEMU, and the image that `guest-image/` builds, named by `CUMULO_GUEST_IMAGE`. Without them it says so and passes, but not in CI.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nova_compute::hypervisor::hardware::{Firmware, SecureBoot, Tpm, TpmVersion};
use nova_compute::hypervisor::qemu::{AccelChoice, Qemu};
use nova_compute::hypervisor::{Disk, DiskBus, DiskFormat, DiskLimits, DiskSource, Guest, Hardware, Hypervisor, Placement, PowerState};

const ID: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";

/// The image, or a sentence on why there is no test today.
fn image() -> Result<PathBuf, String> {
    let missing = |what: &str| format!("{what}, so no real guest was booted.");
    let image = std::env::var_os("CUMULO_GUEST_IMAGE").map(PathBuf::from).ok_or_else(|| missing("CUMULO_GUEST_IMAGE is not set"))?;
    if !image.exists() {
        return Err(missing(&format!("{} is not there", image.display())));
    }
    Command::new("qemu-system-x86_64").arg("--version").output().map_err(|_| missing("QEMU is not installed"))?;
    Ok(image)
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(120), "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn file(id: &str, path: &Path, format: DiskFormat) -> Disk {
    Disk {
        id: id.into(),
        source: DiskSource::File { path: path.to_owned(), format },
        bus: DiskBus::Virtio,
        read_only: false,
        cdrom: false,
        removable: id != "root",
        serial: None,
        limits: DiskLimits::default(),
    }
}

/// A driver below `state`, and a guest of the image; or a sentence on why there is none today, which CI does not take.
async fn guest(state: &Path) -> Result<(Arc<Qemu>, Guest), String> {
    let image = image().inspect_err(|sentence| assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{sentence}"))?;
    let instances = state.join("instances");
    let qemu = Qemu::open(AccelChoice::Tcg, state, &instances).await.unwrap();
    let dir = instances.join(ID);
    qemu.disk_owner().unwrap().private_dir(&dir).unwrap();
    let disk = dir.join("disk");
    run("qemu-img", &["convert", "-O", "qcow2", image.to_str().unwrap(), disk.to_str().unwrap()]);
    qemu.disk_owner().unwrap().own(&disk).unwrap();
    let guest = Guest {
        id: ID.into(),
        name: "instance-0000002a".into(),
        vcpus: 1,
        memory_mb: 128,
        disks: vec![file("root", &disk, DiskFormat::Qcow2)],
        boot_disk: None,
        nics: vec![],
        hardware: Hardware::default(),
        placement: Placement::default(),
    };
    Ok((qemu, guest))
}

/// Ends the guest also when the test fails.
struct CleanUp(PathBuf);

impl Drop for CleanUp {
    fn drop(&mut self) {
        nova_compute::cleanup(&self.0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_lives_is_found_again_and_ends() {
    let state = tempfile::Builder::new().prefix("cumulo-guest-test").tempdir().unwrap();
    let _nothing_left = CleanUp(state.path().to_owned());
    let (qemu, guest) = match guest(state.path()).await {
        Ok(made) => made,
        Err(sentence) => return println!("{sentence}"),
    };

    qemu.create(guest.clone()).await.unwrap();
    assert_eq!(qemu.state(ID), PowerState::Paused);
    qemu.create(guest.clone()).await.unwrap(); // a second time changes nothing
    qemu.resume(ID).await.unwrap();
    assert_eq!(qemu.state(ID), PowerState::Running);
    until("a login prompt", async || qemu.console(ID).await.unwrap().contains("login:")).await;

    let instances = state.path().join("instances");
    let dir = instances.join(ID);
    let extra = dir.join("extra");
    run("qemu-img", &["create", "-f", "raw", extra.to_str().unwrap(), "16M"]);
    qemu.disk_owner().unwrap().own(&extra).unwrap();
    qemu.attach_disk(ID, file("extra", &extra, DiskFormat::Raw)).await.unwrap();
    qemu.detach_disk(ID, "extra").await.unwrap();

    // a second driver finds it as a process started later would, once the first has let go of the control socket
    drop(qemu);
    let again = Qemu::open(AccelChoice::Tcg, state.path(), &instances).await.unwrap();
    until("adoption", async || {
        again.adopt(&[]).await.unwrap();
        again.state(ID) == PowerState::Running
    })
    .await;
    again.stop(ID, Duration::from_secs(60)).await.unwrap();
    until("the end", async || again.state(ID) == PowerState::Shutdown).await;

    again.create(guest).await.unwrap();
    again.destroy(ID).await.unwrap();
    assert_eq!(again.state(ID), PowerState::Shutdown);
    again.forget(ID).await.unwrap();
    assert_eq!(again.state(ID), PowerState::NoState);
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_by_uefi_and_its_machine_remembers() {
    let state = tempfile::Builder::new().prefix("cumulo-guest-test").tempdir().unwrap();
    let _nothing_left = CleanUp(state.path().to_owned());
    let (qemu, mut guest) = match guest(state.path()).await {
        Ok(made) => made,
        Err(sentence) => return println!("{sentence}"),
    };
    if !Path::new("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd").exists() {
        return println!("OVMF is not installed, so no guest was booted by UEFI.");
    }
    let dir = state.path().join("instances").join(ID);
    let says = async |words: &str| qemu.console(ID).await.unwrap().contains(words);
    guest.memory_mb = 256;
    guest.hardware.tpm = Some(Tpm { version: TpmVersion::V2_0, model: "tpm-crb" });

    // what nobody signed is not started
    guest.hardware.firmware = Firmware::Uefi(SecureBoot::Required);
    qemu.create(guest.clone()).await.unwrap();
    qemu.resume(ID).await.unwrap();
    until("a refusal", async || says("Access Denied").await || says("Security Violation").await).await;
    qemu.destroy(ID).await.unwrap();
    std::fs::remove_file(dir.join("uefi-vars")).unwrap();

    guest.hardware.firmware = Firmware::Uefi(SecureBoot::Disabled);
    guest.hardware.devices.serial_ports = 2;
    guest.disks[0].bus = DiskBus::Scsi;
    guest.disks[0].limits.values.insert("iops", 100_000);
    qemu.create(guest.clone()).await.unwrap();
    qemu.resume(ID).await.unwrap();
    until("a login prompt", async || says("login:").await).await;
    assert!(dir.join("uefi-vars").exists() && dir.join("tpm").exists());

    // its memory and all that its machine holds go on together
    qemu.suspend(ID).await.unwrap();
    assert_eq!(qemu.state(ID), PowerState::Suspended);
    qemu.create(guest).await.unwrap();
    qemu.resume(ID).await.unwrap();
    assert_eq!(qemu.state(ID), PowerState::Running);
    qemu.destroy(ID).await.unwrap();
    until("the end of its trusted platform module", async || !dir.join("tpm.pid").exists()).await;
    qemu.forget(ID).await.unwrap();
    assert!(!dir.exists());
}
