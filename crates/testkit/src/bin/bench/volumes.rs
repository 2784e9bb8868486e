//! Volumes: how long what is done with them takes on simulated hosts, where only Cumulo itself is measured; and on a real one snapshots,
//! clones, and what reaches a volume through its NBD export, beside the same on a local file.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::cloud::Api;
use crate::{Outcome, median};

const ROUNDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// How often somebody looks whether it is done.
const LOOK: Duration = Duration::from_millis(2);
/// GiB of the volume that is snapshotted, cloned and read.
const SIZE: u64 = 10;

/// On simulated hosts: create, attach, detach, delete.
pub async fn simulated(api: &Api) -> Outcome<Value> {
    let (image, network) = (api.any_image().await?, api.network("volumes", "10.67.0.0/24").await?);
    let server = api.boot("volumes", &image, &network).await?;
    let began = Instant::now();
    while api.status(&server).await? != "ACTIVE" {
        within(began, "the server does not become ACTIVE")?;
        tokio::time::sleep(LOOK).await;
    }
    let (mut create, mut attach, mut detach, mut delete) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let volume = new(api, json!({"size": 1})).await?;
        create.push(milliseconds(began));
        let uses = format!("/servers/{server}/os-volume_attachments");
        let began = Instant::now();
        api.compute.post(&api.auth, &uses, &json!({"volumeAttachment": {"volumeId": volume}})).await?;
        until(api, "volumes", &volume, "in-use").await?;
        attach.push(milliseconds(began));
        let began = Instant::now();
        api.compute.delete(&api.auth, &format!("{uses}/{volume}")).await?;
        until(api, "volumes", &volume, "available").await?;
        detach.push(milliseconds(began));
        let began = Instant::now();
        api.volume.delete(&api.auth, &format!("/volumes/{volume}")).await?;
        until(api, "volumes", &volume, "gone").await?;
        delete.push(milliseconds(began));
    }
    api.compute.delete(&api.auth, &format!("/servers/{server}")).await?;
    Ok(json!({
        "create_ms": median(&mut create), "attach_ms": median(&mut attach), "detach_ms": median(&mut detach),
        "delete_ms": median(&mut delete),
    }))
}

/// On this machine, whose cloud keeps its state in `state`.
pub async fn real(api: &Api, state: &Path) -> Outcome<Value> {
    let volume = new(api, json!({"size": SIZE})).await?;
    let io = throughput(api, state, &volume).await?;
    let (mut snapshot, mut clone) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let began = Instant::now();
        let wish = json!({"snapshot": {"volume_id": volume}});
        let made = id_of(&api.volume.post(&api.auth, "/snapshots", &wish).await?.take("snapshot")?);
        until(api, "snapshots", &made, "available").await?;
        snapshot.push(milliseconds(began));
        let began = Instant::now();
        let copy = new(api, json!({"source_volid": volume})).await?;
        clone.push(milliseconds(began));
        for (kind, id) in [("snapshots", &made), ("volumes", &copy)] {
            api.volume.delete(&api.auth, &format!("/{kind}/{id}")).await?;
            until(api, kind, id, "gone").await?;
        }
    }
    api.volume.delete(&api.auth, &format!("/volumes/{volume}")).await?;
    Ok(json!({
        "gb": SIZE, "snapshot_ms": median(&mut snapshot), "clone_ms": median(&mut clone), "aim_ms": 200, "io": io,
    }))
}

/// What `qemu-img bench` gets of the volume as a guest's QEMU reaches it, and of a file like the volume's.
async fn throughput(api: &Api, state: &Path, volume: &str) -> Outcome<Value> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let connector = json!({"host": host.trim(), "ip": "127.0.0.1", "initiator": "none"});
    let wish = json!({"attachment": {"volume_uuid": volume, "connector": connector, "instance_uuid": null}});
    let version = [("openstack-api-version", "volume 3.54")];
    let asked = api.volume.call_with(&api.auth, http::Method::POST, "/attachments", Some(&wish), &version);
    let attachment: Value = asked.await?.take("attachment")?;
    let info = &attachment["connection_info"];
    let text = |key: &str| info[key].as_str().unwrap_or_default().to_owned();
    let export = format!("nbd+unix:///{}?socket={}", text("export"), text("socket_path"));
    let file = state.join("bench.qcow2");
    run(&["create", "-q", "-f", "qcow2", &file.to_string_lossy(), &format!("{SIZE}G")]).await?;
    let mut figures = serde_json::Map::new();
    for (name, arguments) in [
        ("sequential_write", &["-w", "-c", "8192", "-d", "16", "-s", "65536"][..]),
        ("sequential_read", &["-c", "8192", "-d", "16", "-s", "65536"]),
        // far apart: each step lands in another cluster
        ("scattered_write", &["-w", "-c", "20000", "-d", "16", "-s", "4096", "-S", "331776"]),
        ("scattered_read", &["-c", "20000", "-d", "16", "-s", "4096", "-S", "331776"]),
    ] {
        let of = async |format: &str, name: &str| -> Outcome<f64> {
            let began = Instant::now();
            run(&[&["bench", "-q", "-f", format], arguments, &[name]].concat()).await?;
            Ok(began.elapsed().as_secs_f64())
        };
        let (ours, theirs) = (of("raw", &export).await?, of("qcow2", &file.to_string_lossy()).await?);
        figures.insert(name.into(), json!({"seconds": ours, "local_file_seconds": theirs, "ratio": theirs / ours}));
    }
    std::fs::remove_file(file)?;
    let path = format!("/attachments/{}", id_of(&attachment));
    api.volume.call_with(&api.auth, http::Method::DELETE, &path, None::<&Value>, &version).await?;
    until(api, "volumes", volume, "available").await?;
    Ok(Value::Object(figures))
}

async fn run(arguments: &[&str]) -> Outcome<()> {
    let output = Command::new("qemu-img").args(arguments).output().await?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}

/// A new volume, once it is available.
async fn new(api: &Api, fields: Value) -> Outcome<String> {
    let id = id_of(&api.volume.post(&api.auth, "/volumes", &json!({"volume": fields})).await?.take("volume")?);
    until(api, "volumes", &id, "available").await?;
    Ok(id)
}

async fn until(api: &Api, kind: &str, id: &str, wanted: &str) -> Outcome<()> {
    let began = Instant::now();
    loop {
        let status = match api.volume.get(&api.auth, &format!("/{kind}/{id}")).await {
            Ok(answer) => {
                let shown: Value = answer.take(kind.trim_end_matches('s'))?;
                shown["status"].as_str().unwrap_or_default().to_owned()
            }
            Err(error) if error.status == 404 => "gone".to_owned(),
            Err(error) => return Err(error.into()),
        };
        if status == wanted {
            return Ok(());
        }
        if status.starts_with("error") {
            return Err(format!("{kind} {id} is {status}").into());
        }
        within(began, &format!("{kind} {id} is {status}, not {wanted}"))?;
        tokio::time::sleep(LOOK).await;
    }
}

fn id_of(item: &Value) -> String {
    item["id"].as_str().unwrap_or_default().to_owned()
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

fn within(began: Instant, otherwise: &str) -> Outcome<()> {
    if began.elapsed() > PATIENCE { Err(otherwise.into()) } else { Ok(()) }
}
