//! Server actions on a real guest under TCG, asked for as conductor does: after each the guest is what it should be, and in the end nothing is left.
//!
//! Needs root, QEMU and the guest image, like `real_build.rs`.

#![allow(clippy::unwrap_used)]

mod neighbours;

use std::path::Path;

use neighbours::real::{CleanUp, start, until, with_image};
use neighbours::{Cloud, HOST, ID, SNAPSHOT, instance};
use nova_compute::hypervisor::qemu::Qemu;
use nova_compute::hypervisor::{Hypervisor, PowerState};
use rpc::Caller;
use rpc::actions::*;
use rpc::compute::*;
use rpc::conductor::BuildOutcome;

/// What the guest writes when it is up.
const UP: &str = "login:";

#[test]
fn a_real_guest_goes_through_all_actions() {
    with_image(actions);
}

async fn actions(image: Vec<u8>) {
    let state = tempfile::Builder::new().prefix("cumulo-action-test").tempdir().unwrap();
    let _nothing_left = CleanUp(state.path().to_owned());
    let mut wanted = instance();
    wanted.flavor = Flavor { ram_mb: 128, root_gb: 1, ..wanted.flavor };
    wanted.config_drive = true; // nobody here tells it anything by network
    wanted.image_properties.insert("hw_watchdog_action".into(), "reset".into());
    wanted.flavor.extra_specs.insert("quota:disk_total_iops_sec".into(), "5000".into());
    let (cloud, qemu) = start(state.path(), wanted, image).await;
    let build = BuildInstance { caller: Caller::default(), instance_id: ID.into(), admin_password: None, answer_to: None };
    cloud.bus.cast(&compute_topic(HOST), build).await.unwrap();
    let outcome = cloud.finished().await;
    assert!(matches!(outcome, BuildOutcome::Running), "{outcome:?}");
    let guest = Guest { cloud, qemu };
    guest.boots(1).await;

    guest.stands_still().await;
    guest.is_looked_at().await;
    let dir = state.path().join("instances");
    guest.becomes_an_image(&dir).await;
    guest.is_rescued(&dir).await;
    guest.is_resized(&dir).await;
    guest.is_shelved(&dir).await;
    guest.is_rebuilt().await;

    guest.cloud.call(TerminateInstance { caller: Caller::default(), instance_id: ID.into() }).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["_base"]);
}

struct Guest {
    cloud: Cloud,
    qemu: std::sync::Arc<Qemu>,
}

impl Guest {
    /// How often it has come up, as far as its console is kept.
    async fn times_up(&self) -> usize {
        self.qemu.console(ID).await.unwrap().matches(UP).count()
    }

    async fn boots(&self, times: usize) {
        until("the login prompt", async || self.times_up().await >= times).await;
    }

    async fn power(&self, action: PowerAction) -> (String, u8) {
        self.cloud.cast(PowerInstance { caller: Caller::default(), instance_id: ID.into(), action }).await
    }

    /// Paused, and suspended to disk: it goes on where it was.
    async fn stands_still(&self) {
        assert_eq!(self.power(PowerAction::Pause).await, ("paused".into(), 3));
        assert_eq!(self.power(PowerAction::Unpause).await, ("active".into(), 1));
        let before = self.times_up().await;
        assert_eq!(self.power(PowerAction::Suspend).await, ("suspended".into(), 7));
        assert_eq!(self.qemu.state(ID), PowerState::Suspended);
        assert_eq!(self.power(PowerAction::Resume).await, ("active".into(), 1));
        // it hears the power button, so it lives
        assert_eq!(self.power(PowerAction::Stop).await, ("stopped".into(), 4));
        assert_eq!(self.times_up().await, before);
        assert_eq!(self.power(PowerAction::Start).await, ("active".into(), 1));
        self.boots(before + 1).await;
    }

    async fn is_looked_at(&self) {
        let seen = self.cloud.call(GetDiagnostics { instance_id: ID.into() }).await.unwrap();
        assert_eq!((seen["state"].as_str(), seen["num_cpus"].as_u64(), seen["num_nics"].as_u64()), (Some("running"), Some(1), Some(1)));
        assert!(seen["disk_details"][0]["read_bytes"].as_u64().unwrap() > 1 << 20, "{seen}");
        assert!(seen["cpu_details"][0]["time"].as_u64().unwrap() > 1_000_000, "{seen}");
        assert_eq!(seen["nic_details"][0]["mac_address"], "fa:16:3e:00:00:01");
        self.cloud.call(InjectNmi { instance_id: ID.into() }).await.unwrap();
        let request = SetAdminPassword { caller: Caller::default(), instance_id: ID.into(), password: "secret".into() };
        assert_eq!(self.cloud.call(request).await.unwrap_err().kind, kit::Kind::NotImplemented);
    }

    /// Of the guest that runs and of the one that is off; neither copy stays.
    async fn becomes_an_image(&self, instances: &Path) {
        for running in [true, false] {
            if !running {
                self.power(PowerAction::Stop).await;
            }
            let request = SnapshotInstance { caller: Caller::default(), instance_id: ID.into(), image_id: SNAPSHOT.into() };
            self.cloud.call(request).await.unwrap();
            let image = self.cloud.uploaded();
            assert_eq!(image.get(..4), Some(b"QFI\xfb".as_slice()));
            assert!(image.len() > 16 << 20, "{} bytes", image.len());
            // it stands by itself
            assert_eq!(image.get(8..16), Some([0; 8].as_slice()));
            let names = std::fs::read_dir(instances.join(ID)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            assert!(!names.collect::<Vec<_>>().iter().any(|name| name.starts_with("snapshot")));
        }
        let before = self.times_up().await;
        self.power(PowerAction::Start).await;
        self.boots(before + 1).await;
    }

    async fn is_rescued(&self, instances: &Path) {
        let before = self.times_up().await;
        let rescue = RescueInstance { caller: Caller::default(), instance_id: ID.into(), image_id: None, admin_password: None };
        assert_eq!(self.cloud.cast(rescue).await, ("rescued".into(), 1));
        assert!(instances.join(ID).join("disk.rescue").exists());
        self.boots(before + 1).await;
        let unrescue = UnrescueInstance { caller: Caller::default(), instance_id: ID.into() };
        assert_eq!(self.cloud.cast(unrescue).await, ("active".into(), 1));
        assert!(!instances.join(ID).join("disk.rescue").exists());
        self.boots(before + 2).await;
    }

    /// There and back, with its disks as if from another host; then there for good, on the same host.
    async fn is_resized(&self, instances: &Path) {
        let aside = instances.join(format!("{ID}_resize"));
        let small = self.cloud.instance().flavor;
        self.resize("elsewhere", Flavor { root_gb: 2, vcpus: 2, ..small.clone() }).await;
        assert!(aside.exists());
        self.cloud.call(RevertResize { caller: Caller::default(), instance_id: ID.into() }).await.unwrap();
        self.cloud.change(|instance| instance.flavor = small.clone());
        let back = FinishRevertResize { caller: Caller::default(), instance_id: ID.into(), running: true };
        self.cloud.call(back).await.unwrap();
        assert!(!aside.exists());
        self.resize(HOST, Flavor { root_gb: 2, vcpus: 2, ..small }).await;
        self.cloud.call(ConfirmResize { caller: Caller::default(), instance_id: ID.into() }).await.unwrap();
        assert!(!aside.exists());
        let seen = self.cloud.call(GetDiagnostics { instance_id: ID.into() }).await.unwrap();
        assert_eq!(seen["num_cpus"], 2);
        self.boots(1).await;
    }

    async fn resize(&self, dest_host: &str, flavor: Flavor) {
        self.cloud
            .call(PrepResize { caller: Caller::default(), instance_id: ID.into(), flavor: flavor.clone(), numa: None })
            .await
            .unwrap();
        let leave = ResizeInstance { caller: Caller::default(), instance_id: ID.into(), dest_host: dest_host.into() };
        let offered = self.cloud.call(leave).await.unwrap();
        assert_eq!(offered.disks[0].url.starts_with("nbd://"), dest_host != HOST, "{offered:?}");
        self.cloud.change(|instance| instance.flavor = flavor);
        let finish = FinishResize { caller: Caller::default(), instance_id: ID.into(), source_host: HOST.into(), offered };
        self.cloud.call(finish).await.unwrap();
        assert_eq!(self.qemu.state(ID), PowerState::Running);
    }

    async fn is_shelved(&self, instances: &Path) {
        let shelve = ShelveInstance { caller: Caller::default(), instance_id: ID.into(), image_id: Some(SNAPSHOT.into()) };
        self.cloud.call(shelve).await.unwrap();
        self.cloud.call(ShelveOffloadInstance { caller: Caller::default(), instance_id: ID.into() }).await.unwrap();
        assert!(!instances.join(ID).exists());
        let unshelve =
            UnshelveInstance { caller: Caller::default(), instance_id: ID.into(), image_id: Some("image".into()), evacuated: false };
        self.cloud.call(unshelve).await.unwrap();
        assert_eq!(self.cloud.instance().vm_state, "active");
        self.boots(1).await;
    }

    async fn is_rebuilt(&self) {
        let before = self.times_up().await;
        let rebuild = RebuildInstance {
            caller: Caller::default(),
            instance_id: ID.into(),
            admin_password: None,
            preserve_ephemeral: false,
            reimage: None,
        };
        assert_eq!(self.cloud.cast(rebuild).await, ("active".into(), 1));
        self.boots(before + 1).await;
    }
}
