//! The volumes of a Ceph pool, in the cluster of `scripts/with-ceph cargo test -p cinder-volume --test rbd`, and skipped without one.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cinder_volume::backend::{Export, ImageFile, Origin, Original};
use cinder_volume::raw::{Pool, names};
use cinder_volume::{Basics, CephDir, FileBackend, Keys, RawBackend, Rbd, RbdConfig, VolumeBackend, cleanup};
use kit::bus::{Bus, Handlers};
use rpc::volume::{FetchSecret, SERVER_TOPIC, Secret};
use serde_json::Value;

/// A pool of the test's cluster, and what of its volumes is on this host.
struct World {
    dir: tempfile::TempDir,
    ceph: CephDir,
    keys: Keys,
}

const PASSPHRASE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

impl World {
    /// Nothing where there is no cluster. Volumes are encrypted or not.
    fn new(encrypted: bool) -> Option<World> {
        let Ok(ceph) = std::env::var("CUMULO_TEST_CEPH") else {
            eprintln!("skipped: CUMULO_TEST_CEPH names no cluster; scripts/with-ceph makes one");
            return None;
        };
        let keys = if encrypted { all_encrypted() } else { Keys::default() };
        Some(World { dir: tempfile::tempdir().unwrap(), ceph: CephDir(ceph.into()), keys })
    }

    fn basics(&self, name: &str) -> Basics {
        let state_dir = self.dir.path().join(name);
        Basics { state_dir, keys: self.keys.clone(), shelf: None, qemu_user: None, address: None, ceph: self.ceph.clone() }
    }

    fn config(&self) -> RbdConfig {
        RbdConfig {
            pool: "volumes".into(),
            user: "cinder".into(),
            cluster_name: "ceph".into(),
            ceph_conf: self.ceph.conf("ceph"),
            secret_uuid: None,
            flatten_volume_from_snapshot: false,
            max_clone_depth: 2,
            ceph: self.ceph.clone(),
        }
    }

    fn backend(&self) -> RawBackend<Rbd> {
        RawBackend::open(self.basics("ceph"), Rbd::new(self.config())).unwrap()
    }

    fn pool(&self) -> Rbd {
        Rbd::new(self.config())
    }

    /// Whether `qemu-io` did it to the volume, as a guest sees it.
    fn qemu_io(&self, id: &str, command: &str) -> bool {
        let node = self.pool().node(&names::volume(id).unwrap(), None);
        let node = cinder_volume::connection::layered(node, self.keys.0.is_some());
        let secret = format!("secret,id=key,data={PASSPHRASE}");
        let options = cinder_volume::connection::options(&node);
        let mut program = Command::new("qemu-io");
        program.args(["--object", &secret, "-c", command, "--image-opts", &options]).envs(self.pool().environment());
        let output = program.stderr(Stdio::inherit()).output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout);
        output.status.success() && !words.contains("failed") && !words.contains("error")
    }

    /// What the pool and its trash have.
    fn left(&self) -> String {
        let rbd = |words: &[&str]| {
            let mut program = Command::new("rbd");
            program.arg("--conf").arg(self.ceph.conf("ceph")).args(["--id", "cinder"]).args(words).envs(self.pool().environment());
            String::from_utf8(program.output().unwrap().stdout).unwrap()
        };
        rbd(&["ls", "volumes"]) + &rbd(&["trash", "ls", "--all", "volumes"])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for name in ["ceph", "file"] {
            cleanup(&self.dir.path().join(name)).unwrap();
        }
    }
}

/// Cinder, as far as it knows keys.
fn all_encrypted() -> Keys {
    let bus = Bus::local();
    let answer = |_: FetchSecret| async { Ok(Some(Secret { passphrase: PASSPHRASE.into(), cipher: "aes-256".into() })) };
    bus.serve(SERVER_TOPIC, Handlers::new().on(answer), 4);
    Keys(Some(bus))
}

fn export(id: &str) -> Export {
    Export { attachment_id: id.into(), readonly: false, remote: false }
}

/// All of it one after the other: the tests share one pool, which is to be empty in the end.
#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_a_pool() {
    for encrypted in [false, true] {
        let Some(world) = World::new(encrypted) else { return };
        let backend = world.backend();
        backend.restore(&[], &[]).await.unwrap();
        live(&world, &backend).await;
        copies(&world, &backend).await;
        backups(&world, &backend).await;
        moves(&world, &backend).await;
        assert_eq!(world.left(), "", "nothing stays in the pool");
        assert_eq!(files(&world.dir.path().join("ceph/work")), Vec::<PathBuf>::new());
    }
    let world = World::new(false).unwrap();
    strays(&world, &world.backend()).await;
    assert_eq!(world.left(), "", "nothing stays in the pool");
}

/// Made, kept, grown, taken back.
async fn live(world: &World, backend: &RawBackend<Rbd>) {
    let (id, kept) = (kit::ids::uuid(), kit::ids::uuid());
    for _ in 0..2 {
        // a repeated message finds what is there
        backend.create(&id, 1, Origin::Blank).await.unwrap();
    }
    assert!(world.qemu_io(&id, "write -P 0x11 0 1M"));
    let info = backend.export(&id, export("one")).await.unwrap();
    assert_eq!((&info["driver_volume_type"], &info["data"]["encrypted"]), (&Value::from("rbd"), &Value::from(world.keys.0.is_some())));
    assert_eq!(info["data"]["name"], format!("volumes/volume-{id}"));
    assert!(!info.to_string().contains("AQ"), "a key is no part of a connection");
    for _ in 0..2 {
        backend.snapshot(&id, &kept).await.unwrap();
        backend.extend(&id, 2).await.unwrap();
    }
    assert!(world.qemu_io(&id, "write -P 0x22 0 1M") && world.qemu_io(&id, "write -P 0x22 2047M 1M"));
    assert!(!world.qemu_io(&id, "write 2048M 1M"), "it is not larger than that");
    backend.revert(&id, &kept, 2).await.unwrap();
    assert!(world.qemu_io(&id, "read -P 0x11 0 1M") && world.qemu_io(&id, "write 2047M 1M"));
    for _ in 0..2 {
        backend.delete_snapshot(&id, &kept).await.unwrap();
    }
    for _ in 0..2 {
        backend.delete(&id).await.unwrap();
    }
    backend.delete_snapshot(&id, &kept).await.unwrap();
    let capacity = backend.capacity().await.unwrap();
    assert!(capacity.total > 1.0 && capacity.free <= capacity.total, "{capacity:?}");
}

/// Clones outlive what they were made of, and the storage keeps that as long, out of sight.
async fn copies(world: &World, backend: &RawBackend<Rbd>) {
    let ids: Vec<String> = (0..5).map(|_| kit::ids::uuid()).collect();
    let kept = kit::ids::uuid();
    backend.create(&ids[0], 1, Origin::Blank).await.unwrap();
    assert!(world.qemu_io(&ids[0], "write -P 0x33 0 1M"));
    backend.snapshot(&ids[0], &kept).await.unwrap();
    assert!(world.qemu_io(&ids[0], "write -P 0x44 0 1M"));
    let of_snapshot = Origin::Snapshot { volume_id: ids[0].clone(), snapshot_id: kept.clone() };
    backend.create(&ids[1], 2, of_snapshot).await.unwrap();
    for n in 2..5 {
        backend.create(&ids[n], 2, Origin::Volume(ids[n - 1].clone())).await.unwrap();
    }
    assert!(world.qemu_io(&ids[1], "write -P 0x55 1M 1M"));
    backend.delete_snapshot(&ids[0], &kept).await.unwrap();
    backend.delete(&ids[0]).await.unwrap();
    backend.delete(&ids[2]).await.unwrap();
    assert!(world.left().contains(".deleted"), "a clone stands on it");
    for n in [1, 3, 4] {
        assert!(world.qemu_io(&ids[n], "read -P 0x33 0 1M") && world.qemu_io(&ids[n], "write 2047M 1M"), "{n}");
        backend.delete(&ids[n]).await.unwrap();
    }
}

async fn backups(world: &World, backend: &RawBackend<Rbd>) {
    let (id, full, step, new) = (kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid());
    let original = |parent: Option<&String>| Original { volume_id: id.clone(), snapshot_id: None, parent_id: parent.cloned() };
    backend.create(&id, 1, Origin::Blank).await.unwrap();
    assert!(world.qemu_io(&id, "write -P 0x66 0 8M"));
    backend.back_up(&full, original(None)).await.unwrap();
    assert!(world.qemu_io(&id, "write -P 0x77 0 1M"));
    backend.back_up(&step, original(Some(&full))).await.unwrap();
    assert!(backend.has_backup(&step).await.unwrap());
    assert!(world.qemu_io(&id, "write -P 0x88 0 64M"));
    backend.refill(&id, 1, Origin::Backup(full.clone())).await.unwrap();
    assert!(world.qemu_io(&id, "read -P 0x66 0 8M") && world.qemu_io(&id, "read -P 0 8M 56M"));
    backend.create(&new, 2, Origin::Backup(step.clone())).await.unwrap();
    assert!(world.qemu_io(&new, "read -P 0x77 0 1M") && world.qemu_io(&new, "read -P 0x66 1M 7M"));
    assert!(world.qemu_io(&new, "read -P 0 2047M 1M"));
    for backup in [step, full] {
        backend.delete_backup(&backup).await.unwrap();
    }
    for volume in [id, new] {
        backend.delete(&volume).await.unwrap();
    }
}

/// From files into the pool and back, and into an image.
async fn moves(world: &World, backend: &RawBackend<Rbd>) {
    let files = FileBackend::open(world.basics("file")).unwrap();
    let (id, back) = (kit::ids::uuid(), kit::ids::uuid());
    files.create(&id, 1, Origin::Blank).await.unwrap();
    let use_of = files.export(&id, export("w")).await.unwrap();
    let data = &use_of["data"];
    let url = format!("nbd+unix:///w?socket={}", data["socket_path"].as_str().unwrap());
    assert!(Command::new("qemu-io").args(["-f", "raw", "-c", "write -P 0x99 0 1M", &url]).status().unwrap().success());
    files.unexport(&id, "w").await.unwrap();

    backend.create(&id, 1, Origin::Blank).await.unwrap();
    files.copy_to(&id, &backend.export(&id, export("m")).await.unwrap()).await.unwrap();
    backend.unexport(&id, "m").await.unwrap();
    assert!(world.qemu_io(&id, "read -P 0x99 0 1M"));
    assert!(world.qemu_io(&id, "write -P 0xaa 1M 1M"));
    files.create(&back, 1, Origin::Blank).await.unwrap();
    backend.copy_to(&id, &files.export(&back, export("m")).await.unwrap()).await.unwrap();
    let url = url.replace(&id, &back).replace("///w", "///m");
    let read = ["-f", "raw", "-c", "read -P 0x99 0 1M", "-c", "read -P 0xaa 1M 1M", &url];
    let output = Command::new("qemu-io").args(read).output().unwrap();
    assert!(output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("failed"));
    files.unexport(&back, "m").await.unwrap();

    let image = kit::ids::uuid();
    let ImageFile::Path(file) = backend.image_file(&id, &image, "raw").await.unwrap() else { panic!("it is in a file") };
    let bytes = std::fs::read(&file).unwrap();
    match world.keys.0 {
        None => assert!(bytes[..1 << 20].iter().all(|byte| *byte == 0x99) && bytes.len() == 1 << 30),
        Some(_) => assert!(bytes.starts_with(b"LUKS") && !bytes.windows(64).any(|part| part == [0x99; 64])),
    }
    std::fs::remove_file(file).unwrap();
    for volume in [&id, &back] {
        backend.delete(volume).await.unwrap();
        files.delete(volume).await.unwrap();
    }
}

async fn strays(world: &World, backend: &RawBackend<Rbd>) {
    let (id, again, kept) = (kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid());
    world.pool().create("data", 1 << 29).await.unwrap();
    let found = backend.manageable().await.unwrap();
    assert_eq!((found.len(), found[0].name.as_str(), found[0].size), (1, "data", 1));
    for _ in 0..2 {
        assert_eq!(backend.manage(&id, "data").await.unwrap(), 1);
    }
    assert!(world.qemu_io(&id, "write -P 0xbb 1023M 1M"), "it is a whole number of GiB now");
    assert!(backend.manage(&again, &names::volume(&id).unwrap()).await.is_err(), "it has a manager");
    backend.snapshot(&id, &kept).await.unwrap();
    backend.unmanage_snapshot(&id, &kept).await.unwrap();
    let stray = &backend.manageable_snapshots().await.unwrap()[0];
    assert_eq!((&stray.volume_id, stray.size), (&id, 1));
    assert_eq!(backend.manage_snapshot(&id, &kept, &stray.name).await.unwrap(), 1);
    backend.delete_snapshot(&id, &kept).await.unwrap();
    backend.unmanage(&id).await.unwrap();
    let name = names::volume(&id).unwrap();
    assert_eq!(backend.manageable().await.unwrap()[0].name, name);
    backend.manage(&again, &name).await.unwrap();
    assert!(world.qemu_io(&again, "read -P 0xbb 1023M 1M"));
    backend.delete(&again).await.unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}
