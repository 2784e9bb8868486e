//! What `rbd` and `ceph` are told, word for word, and what is made of their answers. `tests/rbd.rs` does the same with a real cluster.

use std::sync::Arc;

use super::*;
use crate::programs::recorded::{Recorded, printed, refused};

const ABSENT: &str = "rbd: error opening image volume-1: (2) No such file or directory";

fn pool(runner: &Arc<Recorded>) -> Rbd {
    let config = RbdConfig {
        pool: "volumes".into(),
        user: "cinder".into(),
        cluster_name: "ceph".into(),
        ceph_conf: "/c".into(),
        secret_uuid: None,
        flatten_volume_from_snapshot: false,
        max_clone_depth: 2,
        ceph: CephDir::default(),
    };
    Rbd::driven_by(config, Programs::run_by(runner.clone()))
}

/// What was told beside looks, without what every line begins with.
fn told(runner: &Recorded) -> Vec<String> {
    let lines = runner.changes(&[" info ", " ls ", " status "]);
    lines.iter().map(|line| line.replace("rbd --conf /c --id cinder ", "")).collect()
}

#[tokio::test]
async fn a_disk_that_others_stand_on_waits_in_the_trash() {
    let runner = Recorded::new(|line| match line {
        line if line.contains("info volumes/volume-1 ") => printed(r#"{"size": 1024}"#),
        line if line.contains(" info ") => refused(2, ABSENT),
        line if line.contains("snap ls") => printed(r#"[{"name": "snapshot-a", "size": 1024, "protected": "true"}]"#),
        line if line.ends_with("cinder rm --no-progress volumes/volume-1") => refused(39, "image has snapshots"),
        line if line.contains("trash ls") => printed("[]"),
        _ => None,
    });
    pool(&runner).remove("volume-1").await.unwrap();
    assert_eq!(
        told(&runner),
        [
            "snap unprotect volumes/volume-1@snapshot-a",
            "snap rm --no-progress volumes/volume-1@snapshot-a",
            "rm --no-progress volumes/volume-1",
            "rename volumes/volume-1 volumes/volume-1.deleted",
            "trash mv volumes/volume-1.deleted",
        ]
    );
}

#[tokio::test]
async fn only_what_is_ours_leaves_the_trash() {
    let ours = format!("volume-{}.deleted", kit::ids::uuid());
    let runner = Recorded::new(move |line| match line {
        line if line.contains(" info ") => refused(2, ABSENT),
        line if line.contains("trash ls") => {
            printed(format!(r#"[{{"id": "1", "name": "{ours}"}}, {{"id": "2", "name": "theirs"}}, {{"id": "3", "name": "volume-1"}}]"#))
        }
        line if line.ends_with("volumes/1") => refused(39, "image has snapshots"),
        line if line.ends_with("volumes/3") => refused(16, "busy"),
        _ => None,
    });
    pool(&runner).remove("volume-1").await.unwrap();
    assert_eq!(told(&runner), ["trash rm --no-progress volumes/1", "trash rm --no-progress volumes/3"]);
}

#[tokio::test]
async fn a_cluster_that_is_away_is_not_a_disk_that_is_not_there() {
    let runner = Recorded::new(|_| refused(2, "rbd: couldn't connect to the cluster!"));
    assert!(pool(&runner).size("volume-1").await.is_err());
    let runner = Recorded::new(|_| refused(2, ABSENT));
    assert_eq!(pool(&runner).size("volume-1").await.unwrap(), None);
}

#[tokio::test]
async fn a_clone_of_too_many_holds_its_own_data() {
    let depth = |parents: &'static str| {
        Recorded::new(move |line| match line {
            line if line.contains(" info volumes/source ") => printed(format!(r#"{{"size": 1, {parents}}}"#)),
            line if line.contains("--image-id 2 ") => printed(r#"{"size": 1, "parent": {"pool": "volumes", "id": "1"}}"#),
            line if line.contains("--image-id 1 ") => printed(r#"{"size": 1}"#),
            _ => None,
        })
    };
    let clone = "clone --rbd-default-clone-format 2 volumes/source@snapshot-a volumes/new";
    let shallow = depth(r#""parent": {"pool": "volumes", "id": "1"}"#);
    pool(&shallow).clone_of("source", "snapshot-a", false, "new").await.unwrap();
    assert_eq!(told(&shallow), [clone]);
    let deep = depth(r#""parent": {"pool": "volumes", "id": "2"}"#);
    pool(&deep).clone_of("source", "snapshot-a", false, "new").await.unwrap();
    assert_eq!(told(&deep), [clone, "flatten --no-progress volumes/new"]);
}

#[tokio::test]
async fn a_connection_is_cinders_and_has_no_key() {
    let runner = Recorded::new(|line| {
        line.ends_with("mon dump").then(|| {
            let mons = r#"[{"addr": "10.0.0.1:6789/0"}, {"addr": "[fd00::1]:6789/0"}]"#;
            printed(format!(r#"{{"fsid": "f", "mons": {mons}}}"#)).unwrap()
        })
    });
    let export = Export { attachment_id: "a".into(), readonly: false, remote: true };
    let data = pool(&runner).connection("volume-1", &export).await.unwrap().unwrap();
    assert_eq!(
        data,
        json!({"name": "volumes/volume-1", "hosts": ["10.0.0.1", "fd00::1"], "ports": ["6789", "6789"], "cluster_name": "ceph",
            "auth_enabled": true, "auth_username": "cinder", "secret_type": "ceph", "secret_uuid": "f", "discard": true})
    );
}

#[tokio::test]
async fn a_quota_is_all_there_is() {
    let gib = 1u64 << 30;
    let answer = move |quota: u64| {
        Recorded::new(move |line| match line {
            line if line.ends_with(" df") => printed(format!(
                r#"{{"pools": [{{"name": "volumes", "stats": {{"stored": {gib}, "bytes_used": {}, "max_avail": {}}}}}]}}"#,
                3 * gib,
                9 * gib
            )),
            _ => printed(format!(r#"{{"quota_max_bytes": {}}}"#, quota * gib)),
        })
    };
    let capacity = pool(&answer(0)).capacity().await.unwrap();
    assert_eq!((capacity.total, capacity.free), (10.0, 9.0));
    let capacity = pool(&answer(4)).capacity().await.unwrap();
    assert_eq!((capacity.total, capacity.free), (4.0, 3.0));
}
