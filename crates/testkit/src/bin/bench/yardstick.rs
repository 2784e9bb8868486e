//! What figures are held against: a bare axum handler that returns the same bytes, and a process that does nothing.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::Outcome;

/// Requests per second, the time in which 99 of 100 were answered, and how many were answered with another status than 200.
pub struct Load {
    pub requests: f64,
    pub per_second: f64,
    pub p99_ms: f64,
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

/// Eight connections for `seconds`.
pub async fn wrk(url: &str, token: &str, headers: &[&str], seconds: u32) -> Outcome<Load> {
    wrk_at(8, url, token, headers, seconds.into()).await
}

/// Some connections, at most two threads, for `seconds`.
pub async fn wrk_at(connections: usize, url: &str, token: &str, headers: &[&str], seconds: u64) -> Outcome<Load> {
    let mut command = Command::new("wrk");
    let (threads, connections, length) = (format!("-t{}", connections.min(2)), format!("-c{connections}"), format!("-d{seconds}s"));
    command.args([&threads, &connections, &length, "--latency", "-H", &format!("X-Auth-Token: {token}")]);
    for header in headers {
        command.args(["-H", header]);
    }
    let output = command.arg(url).output().await.map_err(|error| format!("wrk (Debian package `wrk`): {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |word: &str| -> Option<f64> {
        text.lines().find_map(|line| line.trim().strip_prefix(word)).and_then(|rest| rest.trim().parse().ok())
    };
    let p99 = text.lines().find_map(|line| line.trim().strip_prefix("99%")).and_then(|rest| milliseconds(rest.trim()));
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in")).and_then(|(n, _)| n.parse().ok());
    Ok(Load {
        requests: requests.ok_or_else(|| format!("wrk said: {text}"))?,
        per_second: number("Requests/sec:").ok_or_else(|| format!("wrk said: {text}"))?,
        p99_ms: p99.ok_or_else(|| format!("wrk said: {text}"))?,
        errors: number("Non-2xx or 3xx responses:").unwrap_or_default() as u64,
    })
}

/// `812.00us`, `1.25ms` or `1.02s`.
fn milliseconds(text: &str) -> Option<f64> {
    let (number, factor) = match (text.strip_suffix("us"), text.strip_suffix("ms")) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text.strip_suffix('s')?, 1000.0),
    };
    Some(number.parse::<f64>().ok()? * factor)
}
