//! Real boots: what Cumulo adds to what QEMU itself takes. The yardstick is the very command line of the booted guest, run by hand.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Api, Cloud};
use crate::{Outcome, median};

const BOOTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn measure(binary: &Path, image: &Path) -> Outcome<Value> {
    let image_argument = image.to_string_lossy();
    let cloud = Cloud::start(binary, &["--guest-image", &image_argument]).await?;
    let api = cloud.admin().await?;
    api.lift_quotas().await?;
    let image = api.any_image().await?;
    let network = api.network("bench", "10.66.0.0/24").await?;
    // the first boot fills the image cache
    let (mut exec, mut console) = (Vec::new(), Vec::new());
    let mut command = None;
    for n in 0..=BOOTS {
        let (to_exec, to_login, line) = boot(&cloud, &api, n, &image, &network).await?;
        if n > 0 {
            exec.push(to_exec);
            console.push(to_login);
        }
        command = line.or(command);
    }
    let result = json!({
        "post_to_qemu_exec_ms": median(&mut exec),
        "post_to_qemu_exec_aim_ms": 150,
        "post_to_login_s": median(&mut console),
        "qemu_command": command,
    });
    let state = cloud.stop().await?;
    std::process::Command::new(binary).arg("--state-dir").arg(state.path()).arg("clean-state").output()?;
    Ok(result)
}

/// Boots one guest and deletes it: ms to its QEMU, s to its login prompt, its command line.
async fn boot(cloud: &Cloud, api: &Api, n: usize, image: &str, network: &str) -> Outcome<(f64, f64, Option<String>)> {
    let began = Instant::now();
    let id = api.boot(&format!("g{n}"), image, network).await?;
    let line = loop {
        if let Some(line) = qemu(cloud.state.path(), &id) {
            break line;
        }
        if began.elapsed() > PATIENCE {
            return Err("no QEMU appears".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let to_exec = began.elapsed().as_secs_f64() * 1000.0;
    loop {
        let body = json!({"os-getConsoleOutput": {"length": 50}});
        let answer = api.compute.post(&api.auth, &format!("/servers/{id}/action"), &body).await;
        let output = answer.ok().and_then(|a| a.take::<String>("output").ok()).unwrap_or_default();
        if output.contains("login:") {
            break;
        }
        if began.elapsed() > PATIENCE {
            return Err("no login prompt appears".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let to_login = began.elapsed().as_secs_f64();
    api.compute.delete(&api.auth, &format!("/servers/{id}")).await?;
    while api.status(&id).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok((to_exec, to_login, Some(line)))
}

/// The command line of this server's QEMU, once there is one.
fn qemu(state: &Path, id: &str) -> Option<String> {
    let state = state.to_string_lossy();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains("qemu-system") && line.contains(id) && line.contains(state.as_ref())).then_some(line)
    })
}
