//! Every way to an image's bytes, failed and crashed after each of its steps: the image is active with the right bytes or as it was before,
//! it can be tried again, and nothing of it stays when the image is gone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use glance::outside::objects::Place;
use glance::{Config, DiskFormat, STEPS, StoreConfig};
use kit::flow::{Probe, ProbeFn};
use serde_json::json;

use crate::common::{ADMIN, ALICE, Cloud, open_with};
use crate::import::server;

const CONTENT: &str = "the bytes of an image";
const WAYS: [&str; 6] = ["upload", "stage", "glance-direct", "web-download", "copy-image", "convert"];

/// Does this once, after a step.
fn once(what: Probe, step: &'static str) -> (ProbeFn, Arc<AtomicBool>) {
    let done = Arc::new(AtomicBool::new(false));
    let seen = done.clone();
    let probe: ProbeFn = Arc::new(move |_, name| if name == step && !done.swap(true, Ordering::SeqCst) { what } else { Probe::Go });
    (probe, seen)
}

/// A glance with two stores in this directory, as it was or anew.
async fn cloud(dir: tempfile::TempDir, way: &str, port: u16) -> Cloud {
    let set = |config: &mut Config| {
        let place = Place::Directory(config.directory.join("second"));
        config.stores.push(StoreConfig { id: "second".into(), description: String::new(), read_only: false, place });
        config.web.internal_mirrors = vec![[127, 0, 0, 1].into()];
        config.web.ports.push(port);
        config.convert_to = (way == "convert").then_some(DiskFormat::Qcow2);
    };
    open_with(dir, set).await
}

/// An image as it is before its bytes go this way.
async fn prepared(cloud: &Cloud, way: &str) -> String {
    let id = cloud.raw_image(ALICE, "i").await;
    let status = match way {
        "copy-image" => cloud.upload(ALICE, &id, Body::from(CONTENT)).await.status.as_u16(),
        "glance-direct" | "convert" => stage(cloud, &id).await,
        _ => 204,
    };
    assert_eq!(status, 204);
    id
}

async fn stage(cloud: &Cloud, id: &str) -> u16 {
    let media = [("content-type", "application/octet-stream")];
    cloud.ask(ALICE, "PUT", &format!("/v2/images/{id}/stage"), &media, Body::from(CONTENT)).await.status.as_u16()
}

/// The bytes go this way; an upload that never ends is left alone.
async fn go(cloud: &Cloud, way: &str, id: &str, port: u16) {
    let body = match way {
        "upload" | "stage" => {
            let sent = async {
                if way == "upload" { cloud.upload(ALICE, id, Body::from(CONTENT)).await.status.as_u16() } else { stage(cloud, id).await }
            };
            let _ = tokio::time::timeout(Duration::from_millis(500), sent).await;
            return;
        }
        "web-download" => json!({"method": {"name": way, "uri": format!("http://127.0.0.1:{port}/i")}, "all_stores": true}),
        "copy-image" => json!({"method": {"name": way}, "stores": ["second"]}),
        _ => json!({"method": {"name": "glance-direct"}, "stores": ["file", "second"]}),
    };
    let answer = cloud.send(ADMIN, "POST", &format!("/v2/images/{id}/import"), &body).await;
    assert_eq!(answer.status, 202, "{way}: {}", String::from_utf8_lossy(&answer.bytes));
}

/// Waits for a flag.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

/// Whether an image has the bytes it should have, wherever it says that it is.
async fn check(cloud: &Cloud, way: &str, id: &str, what: &str) {
    let image = cloud.get(ALICE, &format!("/v2/images/{id}")).await.json();
    match image["status"].as_str().unwrap() {
        "active" if way == "convert" => assert_eq!(image["disk_format"], "qcow2", "{what}"),
        "active" => assert_eq!(cloud.get(ALICE, &format!("/v2/images/{id}/file")).await.bytes, CONTENT, "{what}"),
        "queued" => assert!(image.get("stores").is_none(), "{what}: {image}"),
        // what was staged still is
        "uploading" => assert!(matches!(way, "stage" | "glance-direct" | "convert"), "{what}"),
        other => panic!("{what}: {id} is {other}"),
    }
}

fn files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// Does it after a step; whether this way has such a step.
async fn disturbed(what: Probe, way: &'static str, step: &'static str, port: u16) -> bool {
    let said = format!("{way}: {what:?} after {step}");
    let mut cloud = cloud(tempfile::tempdir().unwrap(), way, port).await;
    let id = prepared(&cloud, way).await;
    let before = cloud.status(&id).await;
    let (probe, seen) = once(what, step);
    cloud = cloud.probed(probe);
    go(&cloud, way, &id, port).await;
    let settled = async |cloud: &Cloud| !matches!(cloud.status(&id).await.as_str(), "saving" | "importing");
    let copied = async |cloud: &Cloud| {
        way != "copy-image" || cloud.get(ALICE, &format!("/v2/images/{id}")).await.json()["os_glance_importing_to_stores"] == ""
    };
    until(&said, async || seen.load(Ordering::SeqCst) || (settled(&cloud).await && copied(&cloud).await)).await;
    if !seen.load(Ordering::SeqCst) {
        return false;
    }
    if what == Probe::Crash {
        cloud = self::cloud(cloud.dir, way, port).await;
    }
    until(&said, async || settled(&cloud).await && copied(&cloud).await).await;
    check(&cloud, way, &id, &said).await;
    // once more, where it is as it was
    let now = cloud.status(&id).await;
    let again = if now == before && way != "copy-image" { id.clone() } else { prepared(&cloud, way).await };
    go(&cloud, way, &again, port).await;
    let end = if way == "stage" { "uploading" } else { "active" };
    cloud.until(&again, end).await;
    until(&said, async || copied(&cloud).await).await;
    check(&cloud, way, &again, &said).await;
    for id in [id.clone(), again] {
        let gone = cloud.ask(ALICE, "DELETE", &format!("/v2/images/{id}"), &[], Body::empty()).await.status;
        assert!(matches!(gone.as_u16(), 204 | 404), "{said}: {gone}");
    }
    let images = cloud.dir.path().join("images");
    until(&format!("{said}: files are left"), async || files(&images) == 0).await;
    true
}

async fn each_step(what: Probe, steps: &[&'static str]) {
    let port = server(CONTENT).await;
    let mut seen = Vec::new();
    for way in WAYS {
        if way == "convert" && std::process::Command::new("qemu-img").arg("--version").output().is_err() {
            continue;
        }
        for step in steps {
            if disturbed(what, way, step, port).await {
                seen.push((way, *step));
            }
        }
    }
    for step in steps.iter().filter(|step| **step != "convert") {
        assert!(seen.iter().any(|(_, seen)| seen == step), "no way has the step {step}");
    }
    for way in WAYS.iter().filter(|way| **way != "convert") {
        assert!(seen.iter().filter(|(seen, _)| seen == way).count() >= 3, "{way}: {seen:?}");
    }
}

#[tokio::test]
async fn each_step_may_fail() {
    // what has become the image's is no longer taken back
    each_step(Probe::Fail, &STEPS[..STEPS.len() - 1]).await;
}

#[tokio::test]
async fn each_step_may_be_the_last_of_a_process() {
    each_step(Probe::Crash, &STEPS).await;
}
