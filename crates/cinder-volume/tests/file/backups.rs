//! Backups with real disks: in the clear and encrypted, beside the volumes and in a bucket. The bucket is that of the server which
//! `CUMULO_TEST_S3` names: `scripts/with-s3 cargo test -p cinder-volume --test file`.

use std::path::Path;

use cinder_volume::backend::{ImageFile, Origin, Original};
use cinder_volume::file::{Layout, luks};
use cinder_volume::{FileBackend, Keys, Shelf, VolumeBackend};

use crate::{State, export, holds, keys, open, open_at, open_with, qemu_io, ready, url};

fn original(volume: &str, parent: Option<&String>) -> Original {
    Original { volume_id: volume.to_owned(), snapshot_id: None, parent_id: parent.cloned() }
}

/// A volume with these patterns in its first MiB and in that behind it.
async fn written(backend: &FileBackend, first: &str, second: &str) -> String {
    let id = kit::ids::uuid();
    backend.create(&id, 1, Origin::Blank).await.unwrap();
    let info = backend.export(&id, export("w")).await.unwrap();
    assert!(qemu_io(&url(&info), &format!("write -P {first} 0 1M")) && qemu_io(&url(&info), &format!("write -P {second} 1M 8M")));
    backend.unexport(&id, "w").await.unwrap();
    id
}

/// Whether a volume holds these, as a guest sees it.
async fn shows(backend: &FileBackend, id: &str, first: &str, second: &str) -> bool {
    let info = backend.export(id, export("r")).await.unwrap();
    let same = qemu_io(&url(&info), &format!("read -P {first} 0 1M")) && qemu_io(&url(&info), &format!("read -P {second} 1M 8M"));
    backend.unexport(id, "r").await.unwrap();
    same
}

async fn write_first(backend: &FileBackend, id: &str, pattern: &str) {
    let info = backend.export(id, export("w")).await.unwrap();
    assert!(qemu_io(&url(&info), &format!("write -P {pattern} 0 1M")));
    backend.unexport(id, "w").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_holds_what_differs_from_its_parent() {
    if !ready() {
        return;
    }
    let dir = State::new();
    let backend = open(dir.path());
    let (id, full, step, new) = (kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid());
    backend.create(&id, 1, Origin::Blank).await.unwrap();
    let info = backend.export(&id, export("a")).await.unwrap();
    assert!(qemu_io(&url(&info), "write -P 0x11 0 8M"));
    let original = |parent: Option<&String>| Original { volume_id: id.clone(), snapshot_id: None, parent_id: parent.cloned() };
    backend.back_up(&full, original(None)).await.unwrap();
    assert!(qemu_io(&url(&info), "write -P 0x22 0 1M"));
    backend.back_up(&step, original(Some(&full))).await.unwrap();
    let size = |id: &str| std::fs::metadata(dir.path().join("backups").join(id).join("disk.qcow2")).unwrap().len();
    assert!(size(&step) < 4 << 20 && size(&full) >= 8 << 20, "{} of {}", size(&step), size(&full));
    backend.unexport(&id, "a").await.unwrap();
    backend.delete(&id).await.unwrap();
    backend.create(&new, 1, Origin::Backup(step.clone())).await.unwrap();
    assert!(holds(&Layout::new(dir.path(), &new).disk, "0x22"));
    backend.refill(&new, 1, Origin::Backup(full.clone())).await.unwrap();
    assert!(holds(&Layout::new(dir.path(), &new).disk, "0x11"));
    assert!(backend.has_backup(&full).await.unwrap());
    for id in [&step, &full] {
        backend.delete_backup(id).await.unwrap();
        assert!(!backend.has_backup(id).await.unwrap());
    }
    // let go, and taken over under another id
    backend.unmanage(&new).await.unwrap();
    let found = backend.manageable().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(backend.manage(&id, &found[0].name).await.unwrap(), 1);
    assert!(holds(&Layout::new(dir.path(), &id).disk, "0x11"));
    assert!(backend.manage(&new, "../volumes").await.is_err());
    // the same with a snapshot, which its layer outlives
    backend.snapshot(&id, &step).await.unwrap();
    backend.unmanage_snapshot(&id, &step).await.unwrap();
    let found = backend.manageable_snapshots().await.unwrap();
    assert_eq!((found.len(), &found[0].volume_id, found[0].size), (1, &id, 1));
    assert!(backend.manage_snapshot(&id, &full, "../disk.qcow2").await.is_err());
    assert_eq!(backend.manage_snapshot(&id, &full, &found[0].name).await.unwrap(), 1);
    backend.revert(&id, &full, 1).await.unwrap();
    assert!(holds(&Layout::new(dir.path(), &id).disk, "0x11"));
}

/// The passphrase of each id is its own, or its group's; those that are `plain` have none.
fn keys_of(groups: &[(&str, &[&str])], plain: &[&str]) -> Keys {
    let groups: Vec<(String, Vec<String>)> =
        groups.iter().map(|(name, ids)| ((*name).to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())).collect();
    let plain: Vec<String> = plain.iter().map(|id| (*id).to_owned()).collect();
    keys(move |id| {
        let known = |own: &String| own == id;
        let group = groups.iter().find(|(_, ids)| ids.iter().any(known)).map(|(name, _)| name.clone());
        (!plain.iter().any(known)).then(|| group.unwrap_or_else(|| id.to_owned()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_backup_has_a_key_of_its_own() {
    if !ready() {
        return;
    }
    let dir = State::new();
    let (full, step, copy, clear, image) = (kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid());
    // every volume has a key, the two backups have one together
    let backend = open_with(dir.path(), keys_of(&[("both", &[&full, &step])], &[&clear]));
    let id = written(&backend, "0x11", "0x22").await;
    backend.back_up(&full, original(&id, None)).await.unwrap();
    write_first(&backend, &id, "0x33").await;
    backend.back_up(&step, original(&id, Some(&full))).await.unwrap();
    let disk = |id: &str| dir.path().join("backups").join(id).join("disk.qcow2");
    let size = |id: &str| std::fs::metadata(disk(id)).unwrap().len();
    assert!(size(&step) < 4 << 20 && size(&full) >= 8 << 20, "{} of {}", size(&step), size(&full));
    for backup in [&full, &step] {
        assert!(luks::is_locked(&disk(backup)).await.unwrap());
        let bytes = std::fs::read(disk(backup)).unwrap();
        assert!(!tells(&bytes, &[0x11, 0x22, 0x33]));
    }
    backend.create(&copy, 2, Origin::Backup(step.clone())).await.unwrap();
    assert!(shows(&backend, &copy, "0x33", "0x22").await);
    backend.refill(&copy, 2, Origin::Backup(full.clone())).await.unwrap();
    assert!(shows(&backend, &copy, "0x11", "0x22").await);
    assert!(backend.create(&clear, 1, Origin::Backup(full.clone())).await.is_err(), "not into the clear");
    // an image of it is LUKS, too
    assert!(backend.image_file(&id, &image, "qcow2").await.is_err());
    let ImageFile::Path(file) = backend.image_file(&id, &image, "raw").await.unwrap() else { panic!("it is a file") };
    let mut bytes = vec![0; 32 << 20];
    std::os::unix::fs::FileExt::read_exact_at(&std::fs::File::open(&file).unwrap(), &mut bytes, 0).unwrap();
    assert!(bytes.starts_with(b"LUKS\xba\xbe") && !tells(&bytes, &[0x22, 0x33]));
}

/// Whether a sector of one of these patterns is among them.
fn tells(bytes: &[u8], patterns: &[u8]) -> bool {
    bytes.chunks_exact(512).any(|sector| patterns.iter().any(|pattern| sector == [*pattern; 512]))
}

/// The bucket, if there is a server.
fn shelf() -> Option<Shelf> {
    let endpoint = std::env::var("CUMULO_TEST_S3").ok()?;
    let (access_key, secret_key) = ("key".to_owned(), "secret".to_owned());
    let s3 = outside::objects::S3 { endpoint, bucket: "images".into(), region: "us-east-1".into(), access_key, secret_key };
    Some(Shelf::new(outside::bucket::Bucket::open(&s3).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_bucket_can_be_restored_by_another_host() {
    let Some(shelf) = shelf().filter(|_| ready()) else { return };
    let (here, there) = (State::new(), State::new());
    let (full, step, early, new) = (kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid(), kit::ids::uuid());
    let (locked, kept) = (kit::ids::uuid(), kit::ids::uuid());
    let all_plain = Keys::default;
    let before = open(here.path());
    let id = written(&before, "0x11", "0x22").await;
    // one from the time before there was a bucket
    before.back_up(&early, original(&id, None)).await.unwrap();
    drop(before);
    let one = open_at(here.path(), all_plain(), Some(shelf.clone()));
    let made = one.back_up(&full, original(&id, None)).await.unwrap();
    assert_eq!(made.container.as_deref(), Some("images"));
    write_first(&one, &id, "0x33").await;
    one.back_up(&step, original(&id, Some(&full))).await.unwrap();
    one.back_up(&step, original(&id, Some(&full))).await.unwrap();
    assert!(!here.path().join("backups").join(&full).exists());
    let clear = |dir: &Path| std::fs::read_dir(dir.join("desks")).map_or(0, Iterator::count) == 0;
    assert!(clear(here.path()));
    one.create(&new, 1, Origin::Backup(early.clone())).await.unwrap();
    assert!(holds(&Layout::new(here.path(), &new).disk, "0x11"));

    let other = open_at(there.path(), all_plain(), Some(shelf.clone()));
    assert!(other.has_backup(&step).await.unwrap() && !other.has_backup(&early).await.unwrap());
    other.create(&new, 2, Origin::Backup(step.clone())).await.unwrap();
    assert!(shows(&other, &new, "0x33", "0x22").await && clear(there.path()));
    assert!(other.create(&kit::ids::uuid(), 1, Origin::Backup(kit::ids::uuid())).await.is_err());
    assert!(clear(there.path()));
    for backup in [&step, &full, &early] {
        one.delete_backup(backup).await.unwrap();
        assert!(!one.has_backup(backup).await.unwrap());
    }
    // encrypted, and from a snapshot
    let secret = open_at(there.path(), keys_of(&[], &[]), Some(shelf));
    let volume = written(&secret, "0x44", "0x55").await;
    secret.snapshot(&volume, &kept).await.unwrap();
    write_first(&secret, &volume, "0x66").await;
    let of_snapshot = Original { snapshot_id: Some(kept), ..original(&volume, None) };
    secret.back_up(&locked, of_snapshot).await.unwrap();
    let copy = kit::ids::uuid();
    secret.create(&copy, 1, Origin::Backup(locked.clone())).await.unwrap();
    assert!(shows(&secret, &copy, "0x44", "0x55").await);
    secret.delete_backup(&locked).await.unwrap();
}
