//! The file backend with real storage daemons: what is written over NBD survives the daemon's death, and deletion leaves nothing.
#![allow(clippy::unwrap_used)]

mod backups;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cinder_volume::backend::{Export, Origin};
use cinder_volume::file::{Layout, daemon, luks};
use cinder_volume::{Basics, CephDir, FileBackend, Keys, Shelf, VolumeBackend, cleanup, preflight};
use kit::bus::{Bus, Handlers};
use rpc::volume::{FetchSecret, SERVER_TOPIC, Secret};
use serde_json::Value;

/// Whether the programs are here; absent ones fail the test where CI promises them.
fn ready() -> bool {
    let missing = preflight([]);
    assert!(missing.is_empty() || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing:?}");
    missing.iter().for_each(|sentence| eprintln!("skipped: {sentence}"));
    missing.is_empty()
}

/// A state directory that leaves nothing, also when a test fails.
struct State(tempfile::TempDir);

impl State {
    fn new() -> State {
        State(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        cleanup(self.0.path()).unwrap();
    }
}

fn open(dir: &Path) -> FileBackend {
    open_with(dir, Keys::default())
}

fn open_with(dir: &Path, keys: Keys) -> FileBackend {
    open_at(dir, keys, None)
}

fn open_at(dir: &Path, keys: Keys, shelf: Option<Shelf>) -> FileBackend {
    let address = Some([127, 0, 0, 1].into());
    FileBackend::open(Basics { state_dir: dir.to_owned(), keys, shelf, qemu_user: None, address, ceph: CephDir::default() }).unwrap()
}

fn export(id: &str) -> Export {
    Export { attachment_id: id.into(), readonly: false, remote: false }
}

/// The export as `qemu-io` and `qemu-img` name it.
fn url(info: &Value) -> String {
    let data = &info["data"];
    format!("nbd+unix:///{}?socket={}", data["export"].as_str().unwrap(), data["socket_path"].as_str().unwrap())
}

fn qemu_io(url: &str, command: &str) -> bool {
    let output = Command::new("qemu-io").args(["-f", "raw", "-c", command, url]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    output.status.success() && !words.contains("failed") && !words.contains("error")
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_survives_the_daemon_and_deletion_leaves_nothing() {
    if !ready() {
        return;
    }
    let dir = State::new();
    let backend = open(dir.path());
    let id = kit::ids::uuid();
    let layout = Layout::new(dir.path(), &id);
    backend.create(&id, 1, Origin::Blank).await.unwrap();
    // a repeated message finds what is there
    backend.create(&id, 1, Origin::Blank).await.unwrap();
    let info = backend.export(&id, export("one")).await.unwrap();
    assert_eq!(info, backend.export(&id, export("one")).await.unwrap());
    assert_eq!(info["driver_volume_type"], "nbd");
    assert!(qemu_io(&url(&info), "write -P 0x5a 0 1M"));

    let pid = daemon::running(&layout).unwrap();
    let began = Instant::now();
    kill(pid);
    wait("the daemon comes back", || daemon::running(&layout).is_some_and(|new| new != pid));
    wait("it serves", || qemu_io(&url(&info), "read -P 0x5a 0 1M"));
    eprintln!("served again {:?} after kill -9", began.elapsed());

    // growing and keeping while in use
    let kept = kit::ids::uuid();
    backend.snapshot(&id, &kept).await.unwrap();
    backend.snapshot(&id, &kept).await.unwrap();
    assert!(qemu_io(&url(&info), "write -P 0xa5 0 1M"));
    backend.extend(&id, 2).await.unwrap();
    assert!(qemu_io(&url(&info), "write -P 0x11 1536M 1M"));
    assert!(backend.delete(&id).await.is_err(), "an exported volume stays");

    // another cinder-volume takes over: the same daemon, the same data
    let pid = daemon::running(&layout).unwrap();
    drop(backend);
    let successor = open(dir.path());
    let wanted = [(id.clone(), export("one"))];
    successor.restore(std::slice::from_ref(&id), &wanted).await.unwrap();
    assert_eq!(daemon::running(&layout), Some(pid));
    assert!(qemu_io(&url(&info), "read -P 0xa5 0 1M"));

    // what the snapshot holds, in a volume of its own, while the first is in use
    let copy = kit::ids::uuid();
    let origin = Origin::Snapshot { volume_id: id.clone(), snapshot_id: kept.clone() };
    successor.create(&copy, 2, origin).await.unwrap();
    let copied = successor.export(&copy, export("two")).await.unwrap();
    assert!(qemu_io(&url(&copied), "read -P 0x5a 0 1M"));

    successor.unexport(&id, "one").await.unwrap();
    successor.unexport(&id, "one").await.unwrap();
    assert_eq!(daemon::running(&layout), None);
    successor.delete_snapshot(&id, &kept).await.unwrap();
    successor.delete(&id).await.unwrap();
    successor.delete(&id).await.unwrap();
    assert!(!layout.dir.exists() && !layout.socket.exists());
    // the copy stands on a layer of its own now
    assert!(qemu_io(&url(&copied), "read -P 0x5a 0 1M"));
    cleanup(dir.path()).unwrap();
    assert_eq!(daemon::running(&Layout::new(dir.path(), &copy)), None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_ends_orphans_and_revives_what_should_be() {
    if !ready() {
        return;
    }
    let dir = State::new();
    let (wanted, orphan) = (kit::ids::uuid(), kit::ids::uuid());
    let layouts = [&wanted, &orphan].map(|id| Layout::new(dir.path(), id));
    let before = open(dir.path());
    for (id, layout) in [&wanted, &orphan].into_iter().zip(&layouts) {
        before.create(id, 1, Origin::Blank).await.unwrap();
        // as a cinder-volume that died left it
        daemon::start(layout, &[export("a")], None).await.unwrap();
    }
    kill(daemon::running(&layouts[0]).unwrap());
    wait("it is dead", || daemon::running(&layouts[0]).is_none());
    let after = open(dir.path());
    after.restore(&[wanted.clone(), orphan], &[(wanted.clone(), export("a"))]).await.unwrap();
    assert!(daemon::running(&layouts[0]).is_some());
    assert_eq!(daemon::running(&layouts[1]), None);
    cleanup(dir.path()).unwrap();
    assert_eq!(daemon::running(&layouts[0]), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_is_let_in_by_who_finds_a_daemon_that_was_just_started() {
    if !ready() {
        return;
    }
    let dir = State::new();
    let id = kit::ids::uuid();
    let layout = Layout::new(dir.path(), &id);
    open(dir.path()).create(&id, 1, Origin::Blank).await.unwrap();
    // as a cinder-volume left it that died right after
    daemon::start(&layout, &[export("a")], None).await.unwrap();
    let pid = daemon::running(&layout);
    let mode = || std::fs::metadata(&layout.socket).unwrap().permissions().mode() & 0o777;
    assert_ne!(mode(), 0o660);
    open(dir.path()).restore(std::slice::from_ref(&id), &[(id.clone(), export("a"))]).await.unwrap();
    assert_eq!((daemon::running(&layout), mode()), (pid, 0o660));
}

/// The file as `qemu-io` reads it, with all it stands on.
fn holds(disk: &Path, pattern: &str) -> bool {
    let read = format!("read -P {pattern} 0 1M");
    let output = Command::new("qemu-io").args(["-r", "-U", "-f", "qcow2", "-c", &read]).arg(disk).output().unwrap();
    output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("failed")
}

fn layers(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("layers")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_clones_copy_nothing_and_survive_crashes() {
    if !ready() {
        return;
    }
    let dir = State::new();
    let backend = open(dir.path());
    let (id, clone, snapshot) = (kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid());
    let layout = Layout::new(dir.path(), &id);
    backend.create(&id, 10, Origin::Blank).await.unwrap();
    let info = backend.export(&id, export("a")).await.unwrap();
    assert!(qemu_io(&url(&info), "write -P 0x11 0 1M"));
    let began = Instant::now();
    backend.snapshot(&id, &snapshot).await.unwrap();
    eprintln!("snapshot of a served volume of 10 GiB: {:?}", began.elapsed());
    assert!(qemu_io(&url(&info), "write -P 0x22 0 1M"));
    let began = Instant::now();
    backend.create(&clone, 10, Origin::Volume(id.clone())).await.unwrap();
    eprintln!("clone of it: {:?}", began.elapsed());
    assert!(qemu_io(&url(&info), "write -P 0x33 0 1M"));
    // what the guest flushed is there after the worst
    let pid = daemon::running(&layout).unwrap();
    kill(pid);
    wait("the daemon comes back", || daemon::running(&layout).is_some_and(|new| new != pid));
    wait("it serves what was written last", || qemu_io(&url(&info), "read -P 0x33 0 1M"));
    assert!(holds(&Layout::new(dir.path(), &clone).disk, "0x22"));
    backend.unexport(&id, "a").await.unwrap();
    backend.revert(&id, &snapshot, 10).await.unwrap();
    assert!(holds(&layout.disk, "0x11"));
    backend.delete_snapshot(&id, &snapshot).await.unwrap();
    assert!(holds(&layout.disk, "0x11") && holds(&Layout::new(dir.path(), &clone).disk, "0x22"));
    backend.delete(&id).await.unwrap();
    assert!(holds(&Layout::new(dir.path(), &clone).disk, "0x22"));
    backend.delete(&clone).await.unwrap();
    assert_eq!(layers(dir.path()), 0, "nothing needs them any more");
}

/// Cinder, as far as it knows keys: the passphrase of each id, or none.
fn keys(passphrase_of: impl Fn(&str) -> Option<String> + Clone + Send + Sync + 'static) -> Keys {
    let bus = Bus::local();
    let answer = move |message: FetchSecret| {
        let secret = passphrase_of(&message.id).map(|passphrase| Secret { passphrase, cipher: "aes-256".into() });
        async move { Ok(secret) }
    };
    bus.serve(SERVER_TOPIC, Handlers::new().on(answer), 4);
    Keys(Some(bus))
}

/// All volumes have the same.
fn one_key() -> Keys {
    keys(|_| Some("0123456789abcdef".repeat(4)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_volume_is_plain_to_who_is_served_it_alone() {
    if !ready() {
        return;
    }
    let dir = State::new();
    let backend = open_with(dir.path(), one_key());
    let (id, copy, kept) = (kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid());
    let layout = Layout::new(dir.path(), &id);
    backend.create(&id, 1, Origin::Blank).await.unwrap();
    assert!(luks::is_locked(&layout.disk).await.unwrap());
    let info = backend.export(&id, export("one")).await.unwrap();
    assert!(qemu_io(&url(&info), "write -P 0x5a 0 1M"));
    let pid = daemon::running(&layout).unwrap();
    kill(pid);
    wait("the daemon comes back", || daemon::running(&layout).is_some_and(|new| new != pid));
    wait("it serves", || qemu_io(&url(&info), "read -P 0x5a 0 1M"));

    // kept, changed and grown while in use
    backend.snapshot(&id, &kept).await.unwrap();
    assert!(qemu_io(&url(&info), "write -P 0xa5 0 1M"));
    backend.extend(&id, 2).await.unwrap();
    let origin = Origin::Snapshot { volume_id: id.clone(), snapshot_id: kept.clone() };
    backend.create(&copy, 3, origin).await.unwrap();
    let copied = backend.export(&copy, export("two")).await.unwrap();
    assert!(qemu_io(&url(&copied), "read -P 0x5a 0 1M") && qemu_io(&url(&copied), "write -P 0x11 2900M 1M"));
    assert!(qemu_io(&url(&info), "read -P 0xa5 0 1M"));

    // what lies on the storage tells nothing
    for disk in [&layout.disk, &dir.path().join("layers").join(&kept).join("disk.qcow2")] {
        let bytes = std::fs::read(disk).unwrap();
        assert!(!bytes.windows(64).any(|part| part == [0x5a; 64] || part == [0xa5; 64]), "{}", disk.display());
    }
    backend.unexport(&copy, "two").await.unwrap();
    backend.unexport(&id, "one").await.unwrap();
    backend.delete(&copy).await.unwrap();
    // the volume takes back what the snapshot held
    backend.delete_snapshot(&id, &kept).await.unwrap();
    backend.extend(&id, 4).await.unwrap();
    let info = backend.export(&id, export("one")).await.unwrap();
    assert!(qemu_io(&url(&info), "read -P 0xa5 0 1M") && qemu_io(&url(&info), "write -P 0x22 4000M 1M"));
    backend.unexport(&id, "one").await.unwrap();
    // nobody can open it without the key
    drop(backend);
    assert!(open(dir.path()).export(&id, export("three")).await.is_err());
}

/// The command as another host's guest would give it, with this key.
fn remotely(keys: &Path, info: &Value, key: &str, command: &str) -> bool {
    let data = &info["data"];
    let text = |field: &str| data[field].as_str().unwrap().to_owned();
    std::fs::write(keys.join("keys.psk"), format!("cumulo:{key}\n")).unwrap();
    let credentials = format!("tls-creds-psk,id=t,endpoint=client,username=cumulo,dir={}", keys.display());
    let server = format!("server.type=inet,server.host={},server.port={}", text("host"), data["port"]);
    let image =
        format!("driver=raw,file.driver=nbd,file.{},file.export={},file.tls-creds=t", server.replace(",", ",file."), text("export"));
    let output = Command::new("qemu-io").args(["--object", &credentials, "-c", command, "--image-opts", &image]).output().unwrap();
    output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("failed")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_reaches_a_volume_with_its_key() {
    if !ready() {
        return;
    }
    let (dir, keys) = (State::new(), tempfile::tempdir().unwrap());
    let backend = open(dir.path());
    let (id, use_id) = (kit::ids::uuid(), kit::ids::uuid());
    backend.create(&id, 1, Origin::Blank).await.unwrap();
    let elsewhere = Export { remote: true, ..export(&use_id) };
    let info = backend.export(&id, elsewhere.clone()).await.unwrap();
    assert_eq!(info, backend.export(&id, elsewhere.clone()).await.unwrap(), "the port and the key stay");
    let key = info["data"]["auth_password"].as_str().unwrap().to_owned();
    assert!(remotely(keys.path(), &info, &key, "write -P 0x5a 0 1M"));
    assert!(!remotely(keys.path(), &info, &"00".repeat(32), "read 0 512"), "another key opens nothing");

    // it grows, and its gate is killed: at the same place it is as it should be
    backend.extend(&id, 2).await.unwrap();
    assert!(remotely(keys.path(), &info, &key, "write -P 0x11 1536M 1M"));
    let gate = dir.path().join("nbd").join(format!("gate-{use_id}"));
    kill(std::fs::read_to_string(gate.join("pid")).unwrap().trim().parse().unwrap());
    wait("the gate opens again", || remotely(keys.path(), &info, &key, "read -P 0x5a 0 1M"));

    // the same use from this host, and none at all
    let local = backend.export(&id, Export { remote: false, ..elsewhere }).await.unwrap();
    assert!(qemu_io(&url(&local), "read -P 0x5a 0 1M") && !gate.exists());
    backend.unexport(&id, &use_id).await.unwrap();
    assert!(!remotely(keys.path(), &info, &key, "read 0 512"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_copied_to_another_host_also_into_another_encryption() {
    if !ready() {
        return;
    }
    let (here, there) = (State::new(), State::new());
    let (from, to, use_id) = (kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid());
    let (clear, locked) = (open(here.path()), open_with(there.path(), one_key()));
    clear.create(&from, 1, Origin::Blank).await.unwrap();
    let info = clear.export(&from, export("one")).await.unwrap();
    assert!(qemu_io(&url(&info), "write -P 0x5a 512M 1M"));
    clear.unexport(&from, "one").await.unwrap();
    locked.create(&to, 1, Origin::Blank).await.unwrap();
    for remote in [true, false] {
        let target = locked.export(&to, Export { remote, ..export(&use_id) }).await.unwrap();
        assert_eq!(target["data"]["socket_path"].is_string(), !remote);
        clear.copy_to(&from, &target).await.unwrap();
        locked.unexport(&to, &use_id).await.unwrap();
        let copied = locked.export(&to, export("two")).await.unwrap();
        assert!(qemu_io(&url(&copied), "read -P 0x5a 512M 1M") && qemu_io(&url(&copied), "read -P 0 0 1M"));
        assert!(qemu_io(&url(&copied), "write -P 0x11 512M 1M"));
        locked.unexport(&to, "two").await.unwrap();
    }
    // and back into the clear
    let target = clear.export(&from, Export { remote: true, ..export(&use_id) }).await.unwrap();
    locked.copy_to(&to, &target).await.unwrap();
    clear.unexport(&from, &use_id).await.unwrap();
    let copied = clear.export(&from, export("one")).await.unwrap();
    assert!(qemu_io(&url(&copied), "read -P 0x11 512M 1M"));
    let mut closed = target;
    closed["data"]["auth_password"] = "00".repeat(32).into();
    assert!(locked.copy_to(&to, &closed).await.is_err(), "the gate is shut");
}
