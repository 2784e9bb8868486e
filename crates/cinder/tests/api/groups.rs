//! Groups of volumes, their types and snapshots.

use http::Method;
use serde_json::{Value, json};

use crate::support::{World, world};

const VERSION: &str = "3.60";

async fn ask(world: &World, who: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
    let (status, body, _) = world.send(who, method, path, VERSION, Some(body).filter(|body| !body.is_null())).await;
    (status, body)
}

async fn settled(world: &World, path: &str, key: &str, wanted: &str) {
    let what = format!("{path} is {wanted}");
    world
        .until(&what, async |w| {
            let (status, body) = ask(w, "member", Method::GET, path, Value::Null).await;
            if wanted == "gone" { status == 404 } else { body[key]["status"] == json!(wanted) }
        })
        .await;
}

async fn group(world: &World) -> String {
    let new = json!({"group_type": {"name": "together", "group_specs": {"consistent_group_snapshot_enabled": "<is> True"}}});
    assert_eq!(ask(world, "admin", Method::POST, "/v3/group_types", new.clone()).await.0, 202);
    assert_eq!(ask(world, "admin", Method::POST, "/v3/group_types", new).await.0, 409);
    let new = json!({"group": {"name": "g", "group_type": "together", "volume_types": ["__DEFAULT__"]}});
    let (status, body) = ask(world, "member", Method::POST, "/v3/groups", new).await;
    assert_eq!(status, 202, "{body}");
    body["group"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_kept_copied_and_deleted_together() {
    let world = world().await;
    let group = group(&world).await;
    let path = format!("/v3/groups/{group}");
    let inside = world.volume(json!({"size": 1, "group_id": group})).await;
    let joins = world.volume(json!({"size": 2})).await;
    let put = async |body: Value| ask(&world, "member", Method::PUT, &path, json!({"group": body})).await.0;
    assert_eq!(put(json!({})).await, 400);
    assert_eq!(put(json!({"add_volumes": "none"})).await, 400);
    assert_eq!(put(json!({"remove_volumes": joins})).await, 400);
    assert_eq!(put(json!({"add_volumes": joins, "name": "h"})).await, 202);
    let (_, shown) = ask(&world, "member", Method::GET, &format!("{path}?list_volume=true"), Value::Null).await;
    assert_eq!((&shown["group"]["name"], shown["group"]["volumes"].as_array().unwrap().len()), (&json!("h"), 2));
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/volumes/{inside}"), None).await.0, 400);
    // keep
    let (status, body) = ask(&world, "member", Method::POST, "/v3/group_snapshots", json!({"group_snapshot": {"group_id": group}})).await;
    assert_eq!(status, 202, "{body}");
    let kept = format!("/v3/group_snapshots/{}", body["group_snapshot"]["id"].as_str().unwrap());
    settled(&world, &kept, "group_snapshot", "available").await;
    assert_eq!(world.used("snapshots").await, 2);
    // copy
    let from = json!({"create-from-src": {"group_snapshot_id": body["group_snapshot"]["id"], "name": "copy"}});
    let (status, body) = ask(&world, "member", Method::POST, "/v3/groups/action", from).await;
    assert_eq!(status, 202, "{body}");
    let copy = format!("/v3/groups/{}", body["group"]["id"].as_str().unwrap());
    settled(&world, &copy, "group", "available").await;
    assert_eq!((world.used("volumes").await, world.used("groups").await), (4, 2));
    // delete
    let delete = async |path: &str, volumes: bool| {
        ask(&world, "member", Method::POST, &format!("{path}/action"), json!({"delete": {"delete-volumes": volumes}})).await.0
    };
    assert_eq!(delete(&copy, false).await, 400);
    assert_eq!(delete(&path, true).await, 400, "it has a snapshot");
    assert_eq!(delete(&copy, true).await, 202);
    settled(&world, &copy, "group", "gone").await;
    assert_eq!(ask(&world, "member", Method::DELETE, &kept, Value::Null).await.0, 202);
    settled(&world, &kept, "group_snapshot", "gone").await;
    assert_eq!(delete(&path, true).await, 202);
    settled(&world, &path, "group", "gone").await;
    assert!(world.sim.volumes().is_empty());
    assert_eq!((world.used("volumes").await, world.used("snapshots").await, world.used("groups").await), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn group_types_have_specs() {
    let world = world().await;
    let group = group(&world).await;
    let (_, list) = ask(&world, "member", Method::GET, "/v3/group_types", Value::Null).await;
    let id = list["group_types"][0]["id"].as_str().unwrap();
    assert!(list["group_types"][0].get("group_specs").is_none(), "for administrators");
    let path = format!("/v3/group_types/{id}/group_specs");
    assert_eq!(ask(&world, "admin", Method::POST, &path, json!({"group_specs": {"a": "1"}})).await.0, 202);
    assert_eq!(ask(&world, "admin", Method::PUT, &format!("{path}/a"), json!({"a": "2"})).await, (200, json!({"a": "2"})));
    assert_eq!(ask(&world, "admin", Method::DELETE, &format!("{path}/a"), Value::Null).await.0, 202);
    assert_eq!(ask(&world, "admin", Method::GET, &format!("{path}/a"), Value::Null).await.0, 404);
    assert_eq!(ask(&world, "admin", Method::DELETE, &format!("/v3/group_types/{id}"), Value::Null).await.0, 400, "in use");
    assert_eq!(ask(&world, "member", Method::GET, "/v3/group_types/default", Value::Null).await.0, 404);
    let reset = json!({"reset_status": {"status": "error"}});
    assert_eq!(ask(&world, "member", Method::POST, &format!("/v3/groups/{group}/action"), reset.clone()).await.0, 403);
    assert_eq!(ask(&world, "admin", Method::POST, &format!("/v3/groups/{group}/action"), reset).await.0, 202);
    assert_eq!(world.send("member", Method::GET, "/v3/groups", "3.12", None).await.0, 404);
}
