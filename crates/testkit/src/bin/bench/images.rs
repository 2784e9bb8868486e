//! Images through glance with curl, each figure beside the same bytes copied and hashed by coreutils: in by way of the same hashes, out into
//! them; how much memory a large upload takes; and what many downloads at once get.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::cloud::{Api, Cloud};
use crate::{Outcome, median};

const MB: f64 = 1e6;
/// Bytes whose upload and download are timed, and how often.
const SIZE: u64 = 512 << 20;
const ROUNDS: usize = 3;
/// Bytes of the upload whose memory is looked at.
const LARGE: u64 = 4 << 30;
/// Downloads at once, and the bytes of each.
const MANY: usize = 32;
const EACH: u64 = 64 << 20;

pub async fn measure(cloud: &Cloud, api: &Api) -> Outcome<Value> {
    let dir = tempfile::tempdir_in(cloud.state.path())?;
    let (source, copy) = (dir.path().join("source"), dir.path().join("copy"));
    shell(&format!("head -c {SIZE} /dev/urandom > {}", source.display())).await?;
    let (mut up, mut by_tee, mut down, mut by_cat) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let id = image(api).await?;
        up.push(timed(&upload(api, &id, &source.display().to_string())).await?);
        by_tee.push(timed(&format!("tee {to} < {from} | {HASHES}; sync {to}", to = copy.display(), from = source.display())).await?);
        down.push(timed(&format!("{} | {HASHES}", download(api, &id))).await?);
        by_cat.push(timed(&format!("cat {} | {HASHES}", copy.display())).await?);
        delete(api, &id).await?;
    }
    let rate = |seconds: &mut [f64]| SIZE as f64 / MB / median(seconds);
    let (up, by_tee, down, by_cat) = (rate(&mut up), rate(&mut by_tee), rate(&mut down), rate(&mut by_cat));
    Ok(json!({
        "upload_mb_per_second": up, "tee_and_hashes_mb_per_second": by_tee, "upload_ratio": up / by_tee,
        "download_mb_per_second": down, "cat_and_hashes_mb_per_second": by_cat, "download_ratio": down / by_cat,
        "aim_ratio": 0.8,
        "memory": memory(cloud, api).await?,
        "parallel_downloads": many(cloud, api, dir.path()).await?,
    }))
}

/// Both hashes that glance makes of an upload, beside each other.
const HASHES: &str = "tee >(md5sum > /dev/null) | sha512sum > /dev/null";

async fn memory(cloud: &Cloud, api: &Api) -> Outcome<Value> {
    let id = image(api).await?;
    let before = cloud.rss_mb()?;
    cloud.forget_peak()?;
    shell(&format!("head -c {LARGE} /dev/zero | {}", upload(api, &id, "-"))).await?;
    let grown = cloud.peak_mb()? - before;
    delete(api, &id).await?;
    Ok(json!({"upload_gb": LARGE >> 30, "grown_by_mb": grown, "aim_mb": 16}))
}

async fn many(cloud: &Cloud, api: &Api, dir: &Path) -> Outcome<Value> {
    let source = dir.join("each");
    shell(&format!("head -c {EACH} /dev/urandom > {}", source.display())).await?;
    let id = image(api).await?;
    shell(&upload(api, &id, &source.display().to_string())).await?;
    // the first fills the cache
    shell(&format!("{} > /dev/null", download(api, &id))).await?;
    let one = timed(&format!("{} > /dev/null", download(api, &id))).await?;
    let before = cloud.rss_mb()?;
    cloud.forget_peak()?;
    let all = timed(&format!("for n in $(seq {MANY}); do {} > /dev/null & done; wait", download(api, &id))).await?;
    let grown = cloud.peak_mb()? - before;
    let cats = timed(&format!("for n in $(seq {MANY}); do cat {} | cat > /dev/null & done; wait", source.display())).await?;
    delete(api, &id).await?;
    let rate = |bytes: u64, seconds: f64| bytes as f64 / MB / seconds;
    let total = EACH * MANY as u64;
    Ok(json!({
        "downloads": MANY, "mb_per_second": rate(total, all), "one_alone_mb_per_second": rate(EACH, one),
        "as_many_pipes_mb_per_second": rate(total, cats), "ratio": cats / all, "grown_by_mb": grown,
    }))
}

async fn image(api: &Api) -> Outcome<String> {
    let body = json!({"name": "figures", "disk_format": "raw", "container_format": "bare"});
    let image: Value = api.image.post(&api.auth, "/images", &body).await?.whole()?;
    Ok(image["id"].as_str().unwrap_or_default().to_owned())
}

async fn delete(api: &Api, id: &str) -> Outcome<()> {
    api.image.delete(&api.auth, &format!("/images/{id}")).await?;
    Ok(())
}

fn upload(api: &Api, id: &str, from: &str) -> String {
    let headers = "-H Content-Type:application/octet-stream -H Expect:";
    format!("curl -sS --fail -H X-Auth-Token:{} {headers} -T {from} http://127.0.0.1:9292/v2/images/{id}/file", api.token)
}

fn download(api: &Api, id: &str) -> String {
    format!("curl -sS --fail -H X-Auth-Token:{} http://127.0.0.1:9292/v2/images/{id}/file", api.token)
}

/// Seconds that a line of shell takes.
async fn timed(line: &str) -> Outcome<f64> {
    let began = Instant::now();
    shell(line).await?;
    Ok(began.elapsed().as_secs_f64())
}

async fn shell(line: &str) -> Outcome<()> {
    let output = Command::new("bash").args(["-o", "pipefail", "-c", line]).output().await?;
    if output.status.success() { Ok(()) } else { Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)).into()) }
}
