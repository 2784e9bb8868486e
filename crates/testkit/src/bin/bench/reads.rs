//! Reads under load, each against a bare axum handler that returns the same bytes.

use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::cloud::{Api, Cloud};
use crate::yardstick::{bare, wrk};
use crate::{Outcome, note};

const SECONDS: u32 = 5;

pub async fn measure(cloud: &Cloud, api: &Api) -> Outcome<Value> {
    let servers: Vec<Value> = api.compute.get(&api.auth, "/servers?limit=1").await?.take("servers")?;
    let server = servers.first().and_then(|s| s["id"].as_str()).ok_or("no server to show")?.to_owned();
    let compute = |path: &str| format!("http://127.0.0.1:8774/v2.1{path}");
    let subject = format!("X-Subject-Token: {}", api.token);
    let reads = [
        ("token_validate", "http://127.0.0.1:5000/v3/auth/tokens?nocatalog".to_owned(), subject.as_str()),
        ("server_show", compute(&format!("/servers/{server}")), ""),
        ("servers_detail_1", compute("/servers/detail?limit=1"), ""),
        ("servers_detail_100", compute("/servers/detail?limit=100"), ""),
        ("servers_detail_1000", compute("/servers/detail?limit=1000"), ""),
        ("networks", "http://127.0.0.1:9696/v2.0/networks".to_owned(), ""),
    ];
    let mut figures = serde_json::Map::new();
    for (name, url, header) in reads {
        note(name);
        figures.insert(name.to_owned(), one(cloud, api, &url, header).await?);
    }
    figures.insert("aim_ratio_of_single_reads".into(), json!(0.3));
    figures.insert("aim_cpu_ms_of_servers_detail_100".into(), json!(2.0));
    Ok(Value::Object(figures))
}

/// One read's figures.
pub async fn one(cloud: &Cloud, api: &Api, url: &str, header: &str) -> Outcome<Value> {
    let headers: Vec<&str> = Some(header).filter(|h| !h.is_empty()).into_iter().collect();
    let body = fetch(api, url, header).await?;
    let size = body.len();
    let before = cloud.cpu_ms()?;
    let ours = wrk(url, &api.token, &headers, SECONDS).await?;
    let cpu = (cloud.cpu_ms()? - before) / ours.requests.max(1.0);
    let theirs = wrk(&bare(body).await?, &api.token, &headers, SECONDS).await?;
    if ours.errors > 0 {
        return Err(format!("{url} answered {} requests with an error", ours.errors).into());
    }
    Ok(json!({
        "requests_per_second": ours.per_second,
        "bare_handler_per_second": theirs.per_second,
        "ratio": ours.per_second / theirs.per_second,
        "cpu_ms_per_request": cpu,
        "bytes": size,
    }))
}

async fn fetch(api: &Api, url: &str, header: &str) -> Outcome<bytes::Bytes> {
    let mut headers = api.auth.headers();
    if let Some((name, value)) = header.split_once(": ") {
        headers.insert(http::HeaderName::from_bytes(name.as_bytes())?, value.parse()?);
    }
    let response = sdk::Endpoint::http(url).send(http::Method::GET, "", headers, sdk::Body::empty()).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}
