//! Decisions a second of four schedulers that know nothing of each other, on PostgreSQL and NATS. Servers are made up: each decision chooses a
//! host and claims it in placement, which shows in the end that every claim was made once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kit::bus::{self, Bus};
use rpc::Caller;
use rpc::compute::{Flavor, Instance, RequestedNetworks};
use rpc::scheduler::{SelectDestinations, Selection, TOPIC};
use sdk::Endpoint;
use serde_json::{Value, json};

use crate::cloud::{Api, Cloud, Part};
use crate::{Outcome, hosts, note};

const HOSTS: [usize; 2] = [1000, 10_000];
const SCHEDULERS: usize = 4;
/// All that is not a scheduler.
const OTHERS: &str =
    "keystone,glance-api,placement,nova-api,nova-conductor,neutron-server,cinder-api,nova-compute,neutron-agent,cinder-volume";
/// Decisions made for one figure, and how many are asked for at once.
const DECISIONS: usize = 2000;
const AT_ONCE: usize = 32;
const DEADLINE: Duration = Duration::from_secs(60);

pub async fn measure(binary: &Path) -> Outcome<Value> {
    let (Ok(database), Ok(nats)) = (std::env::var("CUMULO_TEST_DATABASE"), std::env::var("CUMULO_TEST_BUS")) else {
        return Ok(json!({"skipped": "needs scripts/with-postgres and scripts/with-nats"}));
    };
    let mut figures = serde_json::Map::new();
    for hosts in HOSTS.into_iter().filter(|hosts| *hosts <= hosts::most()) {
        note(&format!("{SCHEDULERS} schedulers, {hosts} hosts"));
        figures.insert(format!("hosts_{hosts}"), one(binary, hosts, &database, &nats).await?);
    }
    figures.insert("schedulers".into(), json!(SCHEDULERS));
    figures.insert("aim_decisions_per_second".into(), json!(500));
    Ok(Value::Object(figures))
}

async fn one(binary: &Path, hosts: usize, database: &str, nats: &str) -> Outcome<Value> {
    let settings = format!("database = '{database}'\nschema_prefix = 'schedulers_{hosts}_'\n");
    let state = |more: &str| -> Outcome<tempfile::TempDir> {
        let state = tempfile::tempdir()?;
        std::fs::write(state.path().join("cumulo.toml"), format!("{settings}{more}[bus]\nurl = '{nats}'\n"))?;
        Ok(state)
    };
    let cloud = Cloud::start_in(binary, &["--role", OTHERS, "--sim-hosts", &hosts.to_string()], state("")?).await?;
    let mut schedulers = Vec::with_capacity(SCHEDULERS);
    for _ in 0..SCHEDULERS {
        let same = format!("shared_dir = '{}'\n", cloud.state.path().display());
        schedulers.push(Part::start(binary, "nova-scheduler", state(&same)?).await?);
    }
    let api = cloud.admin().await?;
    hosts::arrive(&api, hosts).await?;
    let bus = Bus::open(&bus::Config { url: Some(nats.to_owned()), ..bus::Config::default() }, "control").await?;
    // each reads the hosts before its first decision
    decide(&bus, &api.project, SCHEDULERS * 8).await?;
    let before = claimed(&api).await?;
    let used = || -> Outcome<(f64, f64)> {
        Ok((schedulers.iter().map(Part::cpu_ms).sum::<Outcome<f64>>()? / DECISIONS as f64, cloud.cpu_ms()? / DECISIONS as f64))
    };
    let before_all = used()?;
    let began = Instant::now();
    let unplaced = decide(&bus, &api.project, DECISIONS).await?;
    let took = began.elapsed().as_secs_f64();
    let (deciding, others) = (used()?.0 - before_all.0, used()?.1 - before_all.1);
    let claims = claimed(&api).await? - before;
    if claims != (DECISIONS - unplaced) as i64 {
        return Err(format!("of {} decisions placement knows {claims}", DECISIONS - unplaced).into());
    }
    drop(schedulers);
    let memory = cloud.rss_mb()?;
    cloud.end().await?;
    Ok(json!({
        "decisions_per_second": DECISIONS as f64 / took, "found_no_host": unplaced, "rss_mb": memory,
        "cpu_ms_per_decision": {"schedulers": deciding, "all_else_but_the_database": others},
    }))
}

/// Asks for hosts for so many servers; how many got none.
async fn decide(bus: &Bus, project: &str, total: usize) -> Outcome<usize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (bus, project, asked) = (bus.clone(), project.to_owned(), asked.clone());
            tokio::spawn(async move {
                let mut unplaced = 0;
                while asked.fetch_add(1, Ordering::Relaxed) < total {
                    let instance = made_up(&project);
                    let message = SelectDestinations { caller: Caller::default(), instance, ignore_hosts: Vec::new() };
                    let selection: Selection = bus.call(TOPIC, message, DEADLINE).await?;
                    unplaced += usize::from(selection.selected.is_none());
                }
                Outcome::Ok(unplaced)
            })
        })
        .collect();
    let mut unplaced = 0;
    for task in tasks {
        unplaced += task.await??;
    }
    Ok(unplaced)
}

/// What the project's servers have claimed of processors: one each.
async fn claimed(api: &Api) -> Outcome<i64> {
    let placement = Endpoint::http("http://127.0.0.1:8778");
    let version = [("openstack-api-version", "placement 1.9")];
    let path = format!("/usages?project_id={}", api.project);
    let usages: Value = placement.call_with(&api.auth, http::Method::GET, &path, None::<&Value>, &version).await?.take("usages")?;
    Ok(usages["VCPU"].as_i64().unwrap_or_default())
}

/// A server of one processor that nobody will build.
fn made_up(project: &str) -> Instance {
    let id = kit::ids::uuid();
    Instance {
        instance_name: "instance-00000000".into(),
        name: "decision".into(),
        hostname: "decision".into(),
        project_id: project.to_owned(),
        user_id: project.to_owned(),
        host: None,
        availability_zone: None,
        vm_state: "building".into(),
        task_state: Some("scheduling".into()),
        power_state: 0,
        launch_index: 0,
        reservation_id: "r-decision".into(),
        image_id: None,
        image_properties: Default::default(),
        kernel_id: None,
        ramdisk_id: None,
        flavor: Flavor {
            id: "decision".into(),
            name: "decision".into(),
            vcpus: 1,
            ram_mb: 64,
            root_gb: 0,
            ephemeral_gb: 0,
            swap_mb: 0,
            extra_specs: Default::default(),
        },
        metadata: Default::default(),
        config_drive: false,
        user_data: None,
        key: None,
        injected_files: Vec::new(),
        requested_networks: RequestedNetworks::None,
        security_groups: Vec::new(),
        block_devices: Vec::new(),
        network_info: Vec::new(),
        root_device_name: None,
        scheduler_hints: Value::Null,
        forced_host: None,
        boot_roles: String::new(),
        numa_wanted: None,
        numa: None,
        created_at: 0,
        id,
    }
}
