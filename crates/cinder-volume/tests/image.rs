//! Images become volumes when they are what they say, and leave nothing when they are not.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cinder_volume::backend::Origin;
use cinder_volume::file::{Layout, disk};
use cinder_volume::image::Image;
use cinder_volume::{Basics, CephDir, FileBackend, Keys, VolumeBackend, cleanup, preflight};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use kit::auth::ServiceSession;
use sdk::{Body, Endpoint, LocalService};
use serde_json::json;
use sha2::{Digest, Sha512};

/// Glance with one image, and a keystone that lets everybody in.
struct StandIn {
    bytes: Vec<u8>,
    format: &'static str,
    hash: String,
}

impl LocalService for StandIn {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let info = json!({"id": "i", "status": "active", "visibility": "public", "name": "i", "size": self.bytes.len(), "disk_format": self.format,
            "container_format": "bare", "os_hash_algo": "sha512", "os_hash_value": self.hash, "created_at": "", "updated_at": ""});
        let (status, body) = match request.uri().path() {
            "/v3/auth/tokens" => (201, Body::from("{}")),
            "/v2/images/i" => (200, Body::from(info.to_string())),
            "/v2/images/i/file" => (200, Body::from(self.bytes.clone())),
            _ => (404, Body::empty()),
        };
        let response = Response::builder().status(status).header("x-subject-token", "service").body(body).unwrap();
        async move { response }.boxed()
    }
}

async fn image(bytes: Vec<u8>, format: &'static str, hash: Option<&str>) -> Origin {
    let right: String = Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let stand_in = Arc::new(StandIn { bytes, format, hash: hash.map_or(right, str::to_owned) });
    let endpoint = Endpoint::local(stand_in, "http://cloud");
    let session = ServiceSession::new(endpoint.clone(), "cinder", "secret");
    let images = sdk::image::Image::new(endpoint);
    Origin::Image(Box::new(Image::find(&images, &session, &rpc::Caller::default(), "i").await.unwrap()))
}

fn qemu_img(arguments: &[&str]) {
    assert!(Command::new("qemu-img").args(arguments).status().unwrap().success());
}

async fn refused(backend: &FileBackend, dir: &Path, origin: Origin, why: &str) {
    let id = kit::ids::uuid();
    let error = backend.create(&id, 1, origin).await.unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
    assert!(!Layout::new(dir, &id).dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_checked_before_they_are_believed() {
    let missing = preflight([]);
    assert!(missing.is_empty() || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing:?}");
    if !missing.is_empty() {
        return eprintln!("skipped: {missing:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let config =
        Basics { state_dir: state.clone(), keys: Keys::default(), shelf: None, qemu_user: None, address: None, ceph: CephDir::default() };
    let backend = FileBackend::open(config).unwrap();

    let id = kit::ids::uuid();
    let raw: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    backend.create(&id, 1, image(raw.clone(), "raw", None).await).await.unwrap();
    let made = Layout::new(&state, &id).disk;
    assert_eq!(disk::info(&made, Some("qcow2")).await.unwrap()["virtual-size"], 1u64 << 30);
    let back = dir.path().join("back.raw");
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw", made.to_str().unwrap(), back.to_str().unwrap()]);
    assert!(std::fs::read(back).unwrap().starts_with(&raw));
    assert_eq!(std::fs::read_dir(made.parent().unwrap()).unwrap().count(), 1, "the download is gone");

    // the next one is a clone: nobody asks for the file again
    let layers = || std::fs::read_dir(state.join("layers")).unwrap().count();
    assert_eq!(layers(), 1);
    let next = kit::ids::uuid();
    let right: String = Sha512::digest(&raw).iter().map(|byte| format!("{byte:02x}")).collect();
    backend.create(&next, 2, image(Vec::new(), "raw", Some(&right)).await).await.unwrap();
    let made = Layout::new(&state, &next).disk;
    assert_eq!(disk::info(&made, Some("qcow2")).await.unwrap()["virtual-size"], 2u64 << 30);
    let back = dir.path().join("next.raw");
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw", made.to_str().unwrap(), back.to_str().unwrap()]);
    assert!(std::fs::read(back).unwrap().starts_with(&raw));
    for volume in [&id, &next] {
        backend.delete(volume).await.unwrap();
    }
    assert_eq!(layers(), 1, "it is kept for the next");

    refused(&backend, &state, image(raw.clone(), "raw", Some("00")).await, "corrupted").await;
    refused(&backend, &state, image(raw, "qcow2", None).await, "qemu-img failed").await;
    let (base, over) = (dir.path().join("base.qcow2"), dir.path().join("over.qcow2"));
    qemu_img(&["create", "-q", "-f", "qcow2", base.to_str().unwrap(), "3G"]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/hostname", over.to_str().unwrap(), "1M"]);
    refused(&backend, &state, image(std::fs::read(&over).unwrap(), "qcow2", None).await, "backing file").await;
    refused(&backend, &state, image(std::fs::read(&base).unwrap(), "qcow2", None).await, "3GB").await;
    assert_eq!(layers(), 1, "what is refused is not kept");
    cleanup(&state).unwrap();
}
