//! Every server action on the simulated hypervisor, as conductor and the API ask for it: which states it passes and ends in.

#![allow(clippy::unwrap_used)]

mod neighbours;

use kit::Kind;
use neighbours::{Cloud, HOST, ID, SNAPSHOT, instance};
use nova_compute::hypervisor::{Hypervisor, PowerState};
use rpc::actions::*;
use rpc::compute::*;

fn caller() -> rpc::Caller {
    rpc::Caller { request_id: "req-1".into(), user_id: "user".into(), project_id: "project".into(), token: "token".into() }
}

/// A host with a guest that runs.
async fn running() -> Cloud {
    let cloud = Cloud::start(instance()).await;
    let build = BuildInstance { caller: caller(), instance_id: ID.into(), admin_password: None, answer_to: None };
    cloud.bus.cast(&compute_topic(HOST), build).await.unwrap();
    cloud.finished().await;
    cloud
}

fn state(word: &str, power: PowerState) -> (String, u8) {
    (word.to_owned(), power.number())
}

fn power(action: PowerAction) -> PowerInstance {
    PowerInstance { caller: caller(), instance_id: ID.into(), action }
}

fn rescue(image: Option<&str>) -> RescueInstance {
    RescueInstance { caller: caller(), instance_id: ID.into(), image_id: image.map(str::to_owned), admin_password: None }
}

fn rebuild() -> RebuildInstance {
    RebuildInstance { caller: caller(), instance_id: ID.into(), admin_password: None, preserve_ephemeral: false, reimage: None }
}

#[tokio::test]
async fn guests_pause_suspend_and_go_on() {
    let cloud = running().await;
    let boots = async || {
        let console = GetConsoleOutput { instance_id: ID.into(), length: None };
        cloud.call(console).await.unwrap().matches("login:").count()
    };
    let before = boots().await;
    for (action, expected) in [
        (PowerAction::Pause, state("paused", PowerState::Paused)),
        (PowerAction::Unpause, state("active", PowerState::Running)),
        (PowerAction::Suspend, state("suspended", PowerState::Suspended)),
        (PowerAction::Resume, state("active", PowerState::Running)),
        (PowerAction::SoftDelete, state("soft-delete", PowerState::Shutdown)),
        (PowerAction::Restore, state("active", PowerState::Running)),
    ] {
        assert_eq!(cloud.cast(power(action)).await, expected, "{action:?}");
    }
    // only the restored one booted again
    assert_eq!(boots().await, before + 1);
}

#[tokio::test]
async fn guests_are_rescued_and_unrescued() {
    let cloud = running().await;
    assert_eq!(cloud.cast(rescue(None)).await, state("rescued", PowerState::Running));
    let unrescue = UnrescueInstance { caller: caller(), instance_id: ID.into() };
    assert_eq!(cloud.cast(unrescue).await, state("active", PowerState::Running));
    assert_eq!(cloud.cast(rescue(Some("unknown"))).await.0, "error");
    assert_eq!(cloud.fault().unwrap(), "No image found with ID unknown");
}

#[tokio::test]
async fn a_rebuilt_guest_is_what_it_was() {
    let cloud = running().await;
    assert_eq!(cloud.cast(rebuild()).await, state("active", PowerState::Running));
    assert!(cloud.tasks().ends_with(&["rebuild_block_device_mapping".into(), "rebuild_spawning".into()]));
    cloud.cast(power(PowerAction::Stop)).await;
    assert_eq!(cloud.cast(rebuild()).await, state("stopped", PowerState::Shutdown));
    assert_eq!(cloud.ports().len(), 1);
}

#[tokio::test]
async fn a_snapshot_passes_its_stages() {
    let cloud = running().await;
    cloud.set_task("image_snapshot");
    let request = SnapshotInstance { caller: caller(), instance_id: ID.into(), image_id: SNAPSHOT.into() };
    cloud.call(request).await.unwrap();
    assert!(cloud.tasks().ends_with(&["image_pending_upload".into(), "image_uploading".into()]));
    assert_eq!((cloud.instance().vm_state.as_str(), cloud.instance().task_state), ("active", None));
    assert!(cloud.uploaded().starts_with(b"QFI\xfb"));
}

#[tokio::test]
async fn a_shelved_guest_leaves_and_comes_back() {
    let cloud = running().await;
    let port = cloud.ports().remove(0);
    let shelve = ShelveInstance { caller: caller(), instance_id: ID.into(), image_id: Some(SNAPSHOT.into()) };
    cloud.call(shelve).await.unwrap();
    assert!(cloud.tasks().ends_with(&["shelving_image_pending_upload".into(), "shelving_image_uploading".into()]));
    assert_eq!(cloud.sim.state(ID), PowerState::Shutdown);

    let offload = ShelveOffloadInstance { caller: caller(), instance_id: ID.into() };
    cloud.call(offload.clone()).await.unwrap();
    assert_eq!(cloud.sim.guests(), []);
    assert_eq!((cloud.ports().len(), cloud.owner(&port), cloud.bound_to(&port)), (1, ID.to_owned(), String::new()));
    cloud.change(|instance| instance.host = None);
    cloud.call(offload).await.unwrap();

    cloud.change(|instance| {
        instance.host = Some(HOST.into());
        instance.vm_state = "shelved_offloaded".into();
        instance.task_state = Some("spawning".into());
    });
    let unshelve = UnshelveInstance { caller: caller(), instance_id: ID.into(), image_id: Some("image".into()), evacuated: false };
    cloud.call(unshelve).await.unwrap();
    assert_eq!((cloud.instance().vm_state, cloud.instance().power_state), state("active", PowerState::Running));
    assert_eq!(cloud.bound_to(&port), HOST);
}

#[tokio::test]
async fn an_unshelving_that_fails_leaves_nothing() {
    let cloud = running().await;
    cloud.call(ShelveOffloadInstance { caller: caller(), instance_id: ID.into() }).await.unwrap();
    cloud.wire_ports(false);
    let unshelve = UnshelveInstance { caller: caller(), instance_id: ID.into(), image_id: Some("image".into()), evacuated: false };
    assert_eq!(cloud.call(unshelve).await.unwrap_err().kind, Kind::TimedOut);
    assert_eq!(cloud.sim.guests(), []);
    assert_eq!(cloud.bound_to(&cloud.ports()[0]), "");
}

#[tokio::test]
async fn a_guest_that_was_evacuated_while_its_host_was_cut_off_is_ended() {
    let cloud = running().await;
    let again = async || {
        cloud.sim.power_off_inside("other");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    };
    cloud.say_evacuated(ID);
    again().await;
    assert_eq!(cloud.sim.state(ID), PowerState::Running, "it is here by right");
    cloud.change(|instance| instance.host = Some("elsewhere".into()));
    cloud.sim.power_off_inside("other");
    cloud.until(|cloud| cloud.sim.guests().is_empty()).await;
    assert_eq!(cloud.ports().len(), 1, "they are the new guest's");
}

#[tokio::test]
async fn an_evacuated_guest_has_its_volumes_by_new_attachments() {
    let cloud = running().await;
    cloud.call(ShelveOffloadInstance { caller: caller(), instance_id: ID.into() }).await.unwrap();
    let old = kit::ids::uuid();
    let device = serde_json::json!({"bdm_id": "b", "source_type": "volume", "destination_type": "volume", "delete_on_termination": false,
                                    "volume_id": "v", "attachment_id": old, "device_name": "/dev/vdb"});
    cloud.change(|instance| instance.block_devices = vec![serde_json::from_value(device).unwrap()]);
    let evacuated = UnshelveInstance { caller: caller(), instance_id: ID.into(), image_id: Some("image".into()), evacuated: true };
    cloud.call(evacuated.clone()).await.unwrap();
    let new = cloud.attachments();
    assert_eq!(cloud.instance().block_devices[0].attachment_id, Some(new[0].clone()));
    assert!(new.len() == 1 && new[0] != old, "{new:?}");
    // asked for again, it is as it was
    cloud.call(evacuated).await.unwrap();
    assert_eq!(cloud.attachments(), new);
}

fn larger() -> Flavor {
    let old = instance().flavor;
    Flavor { id: "2".into(), name: "m1.small".into(), vcpus: 2, root_gb: old.root_gb + 1, ..old }
}

fn prep(flavor: Flavor) -> PrepResize {
    PrepResize { caller: caller(), instance_id: ID.into(), flavor, numa: None }
}

/// The resize up to the point where somebody must confirm or go back.
async fn resized() -> Cloud {
    let cloud = running().await;
    cloud.call(prep(larger())).await.unwrap();
    let resize = ResizeInstance { caller: caller(), instance_id: ID.into(), dest_host: HOST.into() };
    let offered = cloud.call(resize).await.unwrap();
    assert!(offered.running);
    cloud.change(|instance| instance.flavor = larger());
    let finish = FinishResize { caller: caller(), instance_id: ID.into(), source_host: HOST.into(), offered };
    cloud.call(finish).await.unwrap();
    cloud
}

#[tokio::test]
async fn a_resized_guest_has_its_new_flavor() {
    let cloud = resized().await;
    let diagnostics = cloud.call(GetDiagnostics { instance_id: ID.into() }).await.unwrap();
    assert_eq!((diagnostics["num_cpus"].as_u64(), diagnostics["state"].as_str()), (Some(2), Some("running")));
    cloud.call(ConfirmResize { caller: caller(), instance_id: ID.into() }).await.unwrap();
    assert_eq!(cloud.sim.state(ID), PowerState::Running);
}

#[tokio::test]
async fn a_resize_is_taken_back() {
    let cloud = resized().await;
    cloud.call(RevertResize { caller: caller(), instance_id: ID.into() }).await.unwrap();
    assert_eq!(cloud.sim.guests(), []);
    cloud.change(|changed| changed.flavor = instance().flavor);
    let back = FinishRevertResize { caller: caller(), instance_id: ID.into(), running: true };
    cloud.call(back).await.unwrap();
    let diagnostics = cloud.call(GetDiagnostics { instance_id: ID.into() }).await.unwrap();
    assert_eq!(diagnostics["num_cpus"], 1);
    assert_eq!(cloud.bound_to(&cloud.ports()[0]), HOST);
}

#[tokio::test]
async fn disks_do_not_shrink() {
    let cloud = running().await;
    let smaller = Flavor { root_gb: 0, ..instance().flavor };
    let error = cloud.call(prep(smaller)).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::BadRequest, "Resize error: Unable to resize disk down."));
    assert_eq!(cloud.sim.state(ID), PowerState::Running);
}
