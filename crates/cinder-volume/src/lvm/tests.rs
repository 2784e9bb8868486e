//! What LVM's programs are told, word for word, and what is made of their answers.

use std::sync::Arc;

use super::*;
use crate::programs::recorded::{Recorded, printed};

fn pool(runner: &Arc<Recorded>) -> Lvm {
    let config = LvmConfig { volume_group: "vg".into(), pool_name: "thin".into() };
    Lvm::driven_by(config, Programs::run_by(runner.clone()))
}

/// A group with its pool of 8 GiB, a quarter used, and these volumes of 1 GiB, each with its tags.
fn group(volumes: &'static [(&'static str, &'static str)]) -> Arc<Recorded> {
    Recorded::new(move |line| {
        let row = |(name, tags): &(&str, &str)| json!({"lv_name": name, "lv_size": "1073741824", "lv_tags": tags, "pool_lv": "thin", "data_percent": "0.00"});
        let mut rows: Vec<Value> = volumes.iter().map(row).collect();
        rows.push(json!({"lv_name": "thin", "lv_size": "8589934592", "lv_tags": "", "pool_lv": "", "data_percent": "25.00"}));
        if line.starts_with("lvs ") { printed(json!({"report": [{"lv": rows}]}).to_string()) } else { None }
    })
}

fn told(runner: &Recorded) -> Vec<String> {
    runner.changes(&["lvs "])
}

#[tokio::test]
async fn volumes_are_thin_and_named() {
    let runner = group(&[]);
    let pool = pool(&runner);
    pool.prepare().await.unwrap();
    pool.create("volume-1.part", 1 << 30).await.unwrap();
    pool.rename("volume-1.part", "volume-1").await.unwrap();
    assert_eq!(
        told(&runner),
        ["lvcreate --type thin --virtualsize 1073741824b --name volume-1.part --thinpool vg/thin", "lvrename vg volume-1.part volume-1"]
    );
    assert_eq!(pool.node("volume-1", Some("snapshot-a"))["filename"], "/dev/vg/_snapshot-a");
    let capacity = pool.capacity().await.unwrap();
    assert_eq!((capacity.total, capacity.free), (8.0, 6.0));
}

#[tokio::test]
async fn a_pool_that_is_not_there_is_made() {
    let runner = Recorded::new(|line| if line.starts_with("lvs ") { printed(r#"{"report": [{"lv": []}]}"#) } else { None });
    pool(&runner).prepare().await.unwrap();
    assert_eq!(told(&runner), ["lvcreate --type thin-pool --extents 95%FREE --name thin vg"]);
}

#[tokio::test]
async fn a_snapshot_says_whose_it_is_and_goes_with_it() {
    let runner = group(&[("volume-1", ""), ("_snapshot-a", "cumulo/volume-1"), ("_snapshot-b", "cumulo/volume-2")]);
    let pool = pool(&runner);
    pool.snapshot("volume-1", "snapshot-a").await.unwrap();
    assert!(told(&runner).is_empty(), "it is there");
    pool.snapshot("volume-1", "snapshot-c").await.unwrap();
    pool.clone_of("volume-1", "snapshot-a", true, "volume-3.part").await.unwrap();
    assert_eq!(pool.snapshots("volume-1").await.unwrap(), [("snapshot-a".to_owned(), 1 << 30)]);
    assert_eq!(pool.names().await.unwrap(), ["volume-1"]);
    pool.grow("volume-1", 1 << 30).await.unwrap();
    pool.grow("volume-1", 2 << 30).await.unwrap();
    pool.remove("volume-1").await.unwrap();
    assert_eq!(
        told(&runner),
        [
            "lvcreate --snapshot --setactivationskip n --name _snapshot-c --addtag cumulo/volume-1 vg/volume-1",
            "lvcreate --snapshot --setactivationskip n --name volume-3.part vg/_snapshot-a",
            "lvextend --size 2147483648b vg/volume-1",
            "lvremove --force vg/_snapshot-a",
            "lvremove --force vg/volume-1",
        ]
    );
}

#[tokio::test]
async fn going_back_leaves_the_snapshot_and_survives_a_crash() {
    let runner = group(&[("volume-1", ""), ("_snapshot-a", "cumulo/volume-1")]);
    pool(&runner).roll_back("volume-1", "snapshot-a").await.unwrap();
    assert_eq!(
        told(&runner),
        [
            "lvcreate --snapshot --setactivationskip n --name volume-1.back vg/_snapshot-a",
            "lvremove --force vg/volume-1",
            "lvrename vg volume-1.back volume-1",
        ]
    );
    assert!(pool(&runner).roll_back("volume-1", "snapshot-z").await.is_err());
    // the crash came before the disk was gone, or after
    let before = group(&[("volume-1", ""), ("volume-1.back", "")]);
    pool(&before).prepare().await.unwrap();
    assert_eq!(told(&before), ["lvremove --force vg/volume-1.back"]);
    let after = group(&[("volume-1.back", "")]);
    pool(&after).prepare().await.unwrap();
    assert_eq!(told(&after), ["lvrename vg volume-1.back volume-1"]);
}
