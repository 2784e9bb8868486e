//! What figures are held against: a bare axum handler that returns the same bytes, and a process that does nothing.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::Outcome;

/// Requests per second, and how many were answered with another status than 200.
pub struct Load {
    pub requests: f64,
    pub per_second: f64,
    pub errors: u64,
}

/// Runs the binary with `--version`: what exec and dynamic linking cost.
pub async fn process_start(binary: &Path) -> Outcome<Duration> {
    let began = Instant::now();
    Command::new(binary).arg("--version").stdout(Stdio::null()).status().await?;
    Ok(began.elapsed())
}

/// Serves `body` to everybody from the one handler axum needs for it; answers the address.
pub async fn bare(body: Bytes) -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let handler = axum::routing::get(move || {
        let body = body.clone();
        async move { ([("content-type", "application/json")], body) }
    });
    let app = axum::Router::new().fallback_service(handler);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(format!("http://{address}/"))
}

/// Eight connections, two threads, for `seconds`.
pub async fn wrk(url: &str, token: &str, headers: &[&str], seconds: u32) -> Outcome<Load> {
    let mut command = Command::new("wrk");
    command.args(["-t2", "-c8", &format!("-d{seconds}s"), "-H", &format!("X-Auth-Token: {token}")]);
    for header in headers {
        command.args(["-H", header]);
    }
    let output = command.arg(url).output().await.map_err(|error| format!("wrk (Debian package `wrk`): {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |word: &str| -> Option<f64> {
        text.lines().find_map(|line| line.trim().strip_prefix(word)).and_then(|rest| rest.trim().parse().ok())
    };
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in")).and_then(|(n, _)| n.parse().ok());
    Ok(Load {
        requests: requests.ok_or_else(|| format!("wrk said: {text}"))?,
        per_second: number("Requests/sec:").ok_or_else(|| format!("wrk said: {text}"))?,
        errors: number("Non-2xx or 3xx responses:").unwrap_or_default() as u64,
    })
}
