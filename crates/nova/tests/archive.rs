//! Deleted servers go out of the way with all that is known of them, and then for good; those that live are not touched.
#![allow(clippy::unwrap_used)]

mod support;

use kit::clock::Timestamp;
use serde_json::Value;
use support::{ADMIN, Behaviour, Cloud, MEMBER};

#[tokio::test]
async fn deleted_servers_are_archived_and_purged() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let (stays, goes) = (cloud.active(MEMBER).await, cloud.active(MEMBER).await);
    let path = format!("/v2.1/servers/{goes}");
    assert_eq!(cloud.ask(MEMBER, "", "DELETE", &path, Value::Null).await.status, 204);
    cloud.wait(&goes, "GONE").await;
    let actions = async || cloud.ask(ADMIN, "2.21", "GET", &format!("{path}/os-instance-actions"), Value::Null).await;
    assert_eq!(actions().await.status, 200);

    let rows = |rows: Vec<(&str, u64)>| rows.into_iter().find(|(table, _)| *table == "instances").unwrap().1;
    let early = nova::archive_deleted(&cloud.location, Timestamp::from_secs(1), 1000).await.unwrap();
    assert_eq!(rows(early), 0);
    let moved = nova::archive_deleted(&cloud.location, Timestamp::now(), 1000).await.unwrap();
    assert!(moved.iter().any(|(table, count)| *table == "actions" && *count > 0), "{moved:?}");
    assert_eq!(rows(moved), 1);
    assert_eq!(actions().await.status, 404);

    assert_eq!(rows(nova::purge_archived(&cloud.location, Some(Timestamp::from_secs(1))).await.unwrap()), 0);
    assert_eq!(rows(nova::purge_archived(&cloud.location, None).await.unwrap()), 1);
    assert_eq!(rows(nova::purge_archived(&cloud.location, None).await.unwrap()), 0);
    cloud.wait(&stays, "ACTIVE").await;
}
