//! From exec to all APIs answering, first and second start, and memory at rest. The yardstick of both is a process that only listens.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Outcome;
use crate::cloud::Cloud;

pub async fn measure(binary: &Path) -> Outcome<Value> {
    let cloud = Cloud::start(binary, &["--sim-hosts", "1"]).await?;
    let first = cloud.ready;
    let state = cloud.stop().await?;
    let mut seconds = Vec::new();
    let mut state = state;
    let mut rss = 0.0;
    for _ in 0..3 {
        let cloud = Cloud::start_in(binary, &["--sim-hosts", "1"], state).await?;
        seconds.push(cloud.ready.as_secs_f64());
        tokio::time::sleep(Duration::from_secs(3)).await;
        rss = cloud.rss_mb()?;
        state = cloud.stop().await?;
    }
    let bare = crate::yardstick::process_start(binary).await?;
    Ok(json!({
        "first_start_s": first.as_secs_f64(),
        "second_start_s": crate::median(&mut seconds),
        "second_start_aim_s": 0.5,
        "exec_alone_s": bare.as_secs_f64(),
        "idle_rss_mb": rss,
        "idle_rss_aim_mb": 40,
    }))
}
