//! Simulated boots: how many a second, how long one takes and what it costs the processors, with few and many servers present.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Api, Cloud};
use crate::{Outcome, median, note};

/// Servers booted for one figure.
const BOOTS: usize = 200;
/// Servers that make a cloud well filled.
const PRESENT: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn measure(cloud: &Cloud, api: &Api) -> Outcome<Value> {
    let image = api.any_image().await?;
    let network = api.network("bench", "10.128.0.0/16").await?;
    let mut figures = serde_json::Map::new();
    for present in [0, PRESENT] {
        if present > 0 {
            note("filling the cloud with servers");
            throughput(api, &image, &network, 8, present.saturating_sub(count(api).await?)).await?;
        }
        for clients in [1, 8] {
            let before = cloud.cpu_ms()?;
            let per_second = throughput(api, &image, &network, clients, BOOTS).await?;
            let cpu = (cloud.cpu_ms()? - before) / BOOTS as f64;
            let latency = latency(api, &image, &network, clients).await?;
            figures.insert(
                format!("servers_{present}_clients_{clients}"),
                json!({"boots_per_second": per_second, "post_to_active_median_ms": latency, "cpu_ms_per_boot": cpu}),
            );
        }
    }
    figures.insert("aim_boots_per_second".into(), json!(200));
    Ok(Value::Object(figures))
}

/// Boots `total` servers from `clients` at once, each as fast as it is answered; from the first POST until none is building.
pub async fn throughput(api: &Api, image: &str, network: &str, clients: usize, total: usize) -> Outcome<f64> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (api, image, network) = (api.clone(), image.to_owned(), network.to_owned());
            tokio::spawn(async move {
                for n in 0..total / clients {
                    api.boot(&format!("t{client}-{n}"), &image, &network).await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    loop {
        let building: Vec<Value> = api.compute.get(&api.auth, "/servers?status=BUILD&limit=1").await?.take("servers")?;
        if building.is_empty() {
            break;
        }
        if began.elapsed() > PATIENCE {
            return Err("some servers still build".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let failed: Vec<Value> = api.compute.get(&api.auth, "/servers/detail?status=ERROR&limit=1").await?.take("servers")?;
    if let Some(server) = failed.first() {
        return Err(format!("a boot ended in ERROR: {}", server["fault"]["message"]).into());
    }
    Ok((total / clients * clients) as f64 / began.elapsed().as_secs_f64())
}

/// The median of POST to ACTIVE while `clients` boot one server after the other.
async fn latency(api: &Api, image: &str, network: &str, clients: usize) -> Outcome<f64> {
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (api, image, network) = (api.clone(), image.to_owned(), network.to_owned());
            tokio::spawn(async move {
                let mut millis = Vec::new();
                for n in 0..40 / clients {
                    let began = Instant::now();
                    let id = api.boot(&format!("l{client}-{n}"), &image, &network).await?;
                    while api.status(&id).await? != "ACTIVE" {
                        if began.elapsed() > PATIENCE {
                            return Err("a server does not become ACTIVE".into());
                        }
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    millis.push(began.elapsed().as_secs_f64() * 1000.0);
                }
                Outcome::Ok(millis)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(median(&mut all))
}

async fn count(api: &Api) -> Outcome<usize> {
    let servers: Vec<Value> = api.compute.get(&api.auth, "/servers?limit=1000").await?.take("servers")?;
    Ok(servers.len())
}
