//! Neutron's API: how many ports a second are made, what lists of many cost, and what ports weigh in memory.

use std::time::Instant;

use serde_json::{Value, json};

use crate::cloud::{Api, Cloud};
use crate::{Outcome, note, reads};

/// Ports made for one figure.
const MADE: usize = 480;
/// Ports of the long list.
const MANY: usize = 10_000;
/// Ports made in one request where it is not the making that is measured.
const BULK: usize = 250;

pub async fn measure(cloud: &Cloud, api: &Api) -> Outcome<Value> {
    let network = api.network("ports", "10.160.0.0/16").await?;
    let mut figures = serde_json::Map::new();
    for clients in [1, 8, 32] {
        note(&format!("ports made by {clients} clients"));
        let per_second = throughput(api, &network, clients).await?;
        figures.insert(format!("made_per_second_clients_{clients}"), json!(per_second));
    }
    note("filling a network with ports");
    let before = cloud.rss_mb()?;
    let missing = MANY - 3 * MADE;
    for first in (0..missing).step_by(BULK) {
        fill(api, &network, BULK.min(missing - first)).await?;
    }
    figures.insert("rss_mb_per_1000_ports".into(), json!((cloud.rss_mb()? - before) * 1000.0 / missing as f64));
    for (name, filter) in [("list_100", "&limit=100"), ("list_10000", "")] {
        note(name);
        let url = format!("http://127.0.0.1:9696/v2.0/ports?network_id={network}{filter}");
        figures.insert(name.into(), reads::one(cloud, api, &url, "").await?);
    }
    Ok(Value::Object(figures))
}

/// Makes ports from so many clients at once, each as fast as it is answered.
async fn throughput(api: &Api, network: &str, clients: usize) -> Outcome<f64> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (api, body) = (api.clone(), json!({"port": {"network_id": network}}));
            tokio::spawn(async move {
                for _ in 0..MADE / clients {
                    api.network.post(&api.auth, "/ports", &body).await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok((MADE / clients * clients) as f64 / began.elapsed().as_secs_f64())
}

async fn fill(api: &Api, network: &str, count: usize) -> Outcome<()> {
    let ports: Vec<Value> = (0..count).map(|_| json!({"network_id": network})).collect();
    api.network.post(&api.auth, "/ports", &json!({"ports": ports})).await?;
    Ok(())
}
