//! What the number of simulated hosts costs: boots per second, one scheduling decision, memory; and how fast servers go again.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Api, Cloud};
use crate::{Outcome, boots, median, note};

/// Numbers of hosts; the last only where `BENCH_HOSTS` says so, as so many take minutes to come.
const HOSTS: [usize; 3] = [10, 1000, 10_000];
const CLIENTS: [usize; 3] = [1, 8, 32];
/// Servers booted for one figure.
const BOOTS: usize = 200;
/// Decisions looked at.
const DECISIONS: usize = 40;
/// A host comes in so long at most.
const ARRIVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn measure(binary: &Path) -> Outcome<Value> {
    let mut figures = serde_json::Map::new();
    for hosts in HOSTS.into_iter().filter(|hosts| *hosts <= most()) {
        note(&format!("{hosts} hosts"));
        figures.insert(format!("hosts_{hosts}"), one(binary, hosts).await?);
    }
    figures.insert("aim_decision_ms".into(), json!(5));
    Ok(Value::Object(figures))
}

/// The most hosts that are to be measured.
pub fn most() -> usize {
    std::env::var("BENCH_HOSTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
}

async fn one(binary: &Path, hosts: usize) -> Outcome<Value> {
    let cloud = Cloud::start(binary, &["--sim-hosts", &hosts.to_string()]).await?;
    let api = cloud.admin().await?;
    let came = arrive(&api, hosts).await?;
    api.lift_quotas().await?;
    let image = api.any_image().await?;
    let network = api.network("bench", "10.128.0.0/16").await?;
    let mut per_second = serde_json::Map::new();
    for clients in CLIENTS {
        per_second.insert(format!("clients_{clients}"), json!(boots::throughput(&api, &image, &network, clients, BOOTS).await?));
    }
    let (deciding, claiming) = decisions(&api, &image, &network).await?;
    let memory = cloud.rss_mb()?;
    let deleted = delete_all(&api).await?;
    cloud.end().await?;
    Ok(json!({
        "all_hosts_came_s": came.as_secs_f64(), "boots_per_second": per_second, "decision_median_ms": deciding, "claim_median_ms": claiming,
        "rss_mb": memory, "deletes_per_second": deleted,
    }))
}

/// Waits until every host has reported.
pub async fn arrive(api: &Api, hosts: usize) -> Outcome<Duration> {
    let began = Instant::now();
    let patience = PATIENCE + ARRIVAL * u32::try_from(hosts)?;
    loop {
        let statistics: Value = api.compute.get(&api.auth, "/os-hypervisors/statistics").await?.take("hypervisor_statistics")?;
        if statistics["count"].as_u64() == Some(hosts as u64) {
            return Ok(began.elapsed());
        }
        if began.elapsed() > patience {
            return Err(format!("of {hosts} hosts only {} came", statistics["count"]).into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How long the scheduler took for boots one after the other: to choose, and to claim.
async fn decisions(api: &Api, image: &str, network: &str) -> Outcome<(f64, f64)> {
    let (mut deciding, mut claiming) = (Vec::new(), Vec::new());
    for n in 0..DECISIONS {
        let id = api.boot(&format!("d{n}"), image, network).await?;
        let began = Instant::now();
        while api.status(&id).await? != "ACTIVE" {
            if began.elapsed() > PATIENCE {
                return Err("a server does not become ACTIVE".into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let path = format!("/servers/{id}/os-instance-actions");
        let actions: Vec<Value> = api.compute.get(&api.auth, &path).await?.take("instanceActions")?;
        let request = actions.first().and_then(|action| action["request_id"].as_str()).ok_or("a boot left no record")?;
        let timeline: Value = api.compute.get(&api.auth, &format!("{path}/{request}/timeline")).await?.take("timeline")?;
        let took = |event: &str| {
            let steps = timeline["steps"].as_array()?;
            Some(steps.iter().find(|step| step["event"] == event)?["took_us"].as_f64()? / 1000.0)
        };
        deciding.extend(took("scheduler_filter_hosts"));
        claiming.extend(took("scheduler_claim_host"));
    }
    Ok((median(&mut deciding), median(&mut claiming)))
}

/// Deletes every server, eight at a time; from the first DELETE until none is left.
async fn delete_all(api: &Api) -> Outcome<f64> {
    let servers: Vec<Value> = api.compute.get(&api.auth, "/servers?limit=1000").await?.take("servers")?;
    let ids: Vec<String> = servers.iter().filter_map(|server| server["id"].as_str().map(str::to_owned)).collect();
    let began = Instant::now();
    let tasks: Vec<_> = ids
        .chunks(ids.len().div_ceil(8).max(1))
        .map(|some| {
            let (api, some) = (api.clone(), some.to_vec());
            tokio::spawn(async move {
                for id in some {
                    api.compute.delete(&api.auth, &format!("/servers/{id}")).await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    loop {
        let left: Vec<Value> = api.compute.get(&api.auth, "/servers?limit=1").await?.take("servers")?;
        if left.is_empty() {
            return Ok(ids.len() as f64 / began.elapsed().as_secs_f64());
        }
        if began.elapsed() > PATIENCE {
            return Err("some servers do not go".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
