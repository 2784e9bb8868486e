//! The host's half of a boot on the simulated hypervisor, between a conductor and neighbours of the test's own that keep count.

#![allow(clippy::unwrap_used)]

mod neighbours;

use std::time::Duration;

use neighbours::{Cloud, HOST, ID, instance};
use nova_compute::hypervisor::sim::Behaviour;
use nova_compute::hypervisor::{Hypervisor, PowerState};
use rpc::compute::*;
use rpc::conductor::BuildOutcome;

const DEADLINE: Duration = Duration::from_secs(30);

fn caller() -> rpc::Caller {
    rpc::Caller { request_id: "req-1".into(), user_id: "user".into(), project_id: "project".into(), token: "token".into() }
}

fn request() -> BuildInstance {
    BuildInstance { caller: caller(), instance_id: ID.into(), admin_password: None, answer_to: None }
}

async fn build(cloud: &Cloud) -> BuildOutcome {
    cloud.bus.cast(&compute_topic(HOST), request()).await.unwrap();
    cloud.finished().await
}

#[tokio::test]
async fn a_boot_takes_its_steps_in_order_and_ends_active() {
    let cloud = Cloud::start(instance()).await;
    assert!(matches!(build(&cloud).await, BuildOutcome::Running));
    let saved = cloud.instance();
    assert_eq!((saved.vm_state.as_str(), saved.task_state.as_deref()), ("active", None));
    assert_eq!(saved.network_info[0].device_name, tap_name(&saved.network_info[0].port_id));
    assert_eq!(saved.network_info[0].fixed_ips[0].cidr, "10.0.0.0/24");
    assert_eq!(cloud.sim.state(ID), PowerState::Running);
    let steps = ["compute_get_instance", "compute_get_image", "compute_allocate_network", "compute_block_devices", "compute_spawn"];
    assert_eq!(cloud.events(), steps);
    assert_eq!(cloud.tasks(), ["networking", "spawning"], "with volumes there is a third between them");
}

#[tokio::test]
async fn a_request_that_comes_twice_builds_once() {
    let cloud = Cloud::start(instance()).await;
    build(&cloud).await;
    assert!(matches!(build(&cloud).await, BuildOutcome::Running));
    assert_eq!(cloud.ports().len(), 1);
}

#[tokio::test]
async fn a_port_of_an_earlier_attempt_is_used_again() {
    let cloud = Cloud::start(instance()).await;
    let earlier = cloud.make_port(ID);
    build(&cloud).await;
    assert_eq!(cloud.ports(), [earlier]);
}

#[tokio::test]
async fn a_hypervisor_that_fails_leaves_nothing() {
    let cloud = Cloud::start(instance()).await;
    cloud.sim.behave(Behaviour { fail_create: Some("no room".into()), ..Behaviour::default() });
    let BuildOutcome::Refused(fault) = build(&cloud).await else { panic!() };
    assert_eq!(fault.message, "no room");
    assert_eq!(cloud.ports(), Vec::<String>::new());
    assert_eq!(cloud.sim.guests(), []);
}

#[tokio::test]
async fn a_users_mistake_is_no_reason_to_try_elsewhere() {
    let cloud = Cloud::start(Instance { image_id: Some("unknown".into()), ..instance() }).await;
    let BuildOutcome::Failed(fault) = build(&cloud).await else { panic!() };
    assert_eq!(fault.code, 404);
    assert_eq!(cloud.ports(), Vec::<String>::new());
}

#[tokio::test]
async fn ports_that_nobody_wires_fail_the_boot() {
    let cloud = Cloud::start(instance()).await;
    cloud.wire_ports(false);
    let BuildOutcome::Refused(fault) = build(&cloud).await else { panic!() };
    assert!(fault.message.contains("were not wired within"), "{}", fault.message);
    assert_eq!(cloud.ports(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_deleted_meanwhile_is_undone_at_once() {
    let cloud = Cloud::start(instance()).await;
    cloud.sim.behave(Behaviour { boot_delay: Duration::from_secs(3600), ..Behaviour::default() });
    cloud.bus.cast(&compute_topic(HOST), request()).await.unwrap();
    cloud.until(|cloud| cloud.ports().len() == 1).await;
    cloud.bus.call(&compute_topic(HOST), TerminateInstance { caller: caller(), instance_id: ID.into() }, DEADLINE).await.unwrap();
    assert!(matches!(cloud.finished().await, BuildOutcome::Gone));
    assert_eq!(cloud.ports(), Vec::<String>::new());
}

#[tokio::test]
async fn ending_frees_what_nova_made_and_keeps_what_the_user_gave() {
    let mut wanted = instance();
    let given = "99999999-0000-0000-0000-000000000000";
    wanted.requested_networks = RequestedNetworks::These(vec![
        RequestedNetwork { network_id: Some("network".into()), ..RequestedNetwork::default() },
        RequestedNetwork { port_id: Some(given.into()), ..RequestedNetwork::default() },
    ]);
    let cloud = Cloud::start(wanted).await;
    cloud.make_port_with_id(given, "");
    assert!(matches!(build(&cloud).await, BuildOutcome::Running));
    assert_eq!(cloud.ports().len(), 2);
    for _ in 0..2 {
        cloud.bus.call(&compute_topic(HOST), TerminateInstance { caller: caller(), instance_id: ID.into() }, DEADLINE).await.unwrap();
        assert_eq!(cloud.ports(), [given]);
        assert_eq!(cloud.owner(given), "");
        assert_eq!(cloud.sim.guests(), []);
    }
}

#[tokio::test]
async fn power_actions_end_in_the_state_they_promise() {
    let cloud = Cloud::start(instance()).await;
    build(&cloud).await;
    let states = [
        (PowerAction::Stop, "stopped", 4),
        (PowerAction::Start, "active", 1),
        (PowerAction::SoftReboot, "active", 1),
        (PowerAction::HardReboot, "active", 1),
    ];
    for (action, vm_state, power_state) in states {
        cloud.set_task("doing");
        cloud.bus.cast(&compute_topic(HOST), PowerInstance { caller: caller(), instance_id: ID.into(), action }).await.unwrap();
        cloud.until(|cloud| cloud.instance().task_state.is_none()).await;
        let saved = cloud.instance();
        assert_eq!((saved.vm_state.as_str(), saved.power_state), (vm_state, power_state), "{action:?}");
    }
    let ask = GetConsoleOutput { instance_id: ID.into(), length: Some(2) };
    let text = cloud.bus.call(&compute_topic(HOST), ask, DEADLINE).await.unwrap();
    assert_eq!(text, "instance-00000001 login: \n");
}
