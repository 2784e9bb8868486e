//! Volumes, attachments and their quotas.

use http::Method;
use serde_json::{Value, json};

use crate::support::{IMAGE, world};

#[tokio::test(flavor = "multi_thread")]
async fn discovery_needs_no_token_and_the_rest_does() {
    let world = world().await;
    let (status, body, _) = world.send("", Method::GET, "/", "", None).await;
    assert_eq!((status, &body["versions"][0]["id"]), (300, &json!("v3.0")));
    assert_eq!(world.send("", Method::GET, "/v3/", "", None).await.0, 401);
    assert_eq!(world.send("", Method::GET, "/v3/nonsense", "", None).await.0, 401);
    assert_eq!(world.send("member", Method::GET, "/v3/", "", None).await.0, 200);
    let (status, body, headers) = world.send("member", Method::GET, "/v3/p1/volumes", "3.12", None).await;
    assert_eq!((status, body), (200, json!({"volumes": []})));
    assert_eq!(headers["openstack-api-version"], "volume 3.12");
    assert_eq!(world.send("member", Method::GET, "/v3/p2/volumes", "", None).await.0, 400);
    assert_eq!(world.send("member", Method::GET, "/v3/volumes", "9.9", None).await.0, 406);
    let (status, body, _) = world.send("member", Method::GET, "/v3/attachments", "3.26", None).await;
    assert_eq!((status, &body["itemNotFound"]["code"]), (404, &json!(404)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_shown_changed_and_deleted() {
    let world = world().await;
    let id = world.volume(json!({"size": 1, "name": "data", "metadata": {"a": "1"}})).await;
    let shown = world.get(&format!("/v3/p1/volumes/{id}")).await["volume"].clone();
    for (key, value) in [
        ("name", json!("data")),
        ("bootable", json!("false")),
        ("volume_type", json!("__DEFAULT__")),
        ("size", json!(1)),
        ("metadata", json!({"a": "1"})),
        ("os-vol-tenant-attr:tenant_id", json!("p1")),
        ("attachments", json!([])),
        ("availability_zone", json!("nova")),
        ("encrypted", json!(false)),
    ] {
        assert_eq!(shown[key], value, "{key}");
    }
    assert!(shown.get("os-vol-host-attr:host").is_none());
    let (_, body) = world.ask("admin", Method::GET, &format!("/v3/volumes/{id}"), None).await;
    assert_eq!(body["volume"]["os-vol-host-attr:host"], "sim1@sim#sim");
    assert_eq!(world.ask("other", Method::GET, &format!("/v3/volumes/{id}"), None).await.0, 404);
    let rename = json!({"volume": {"name": "new", "description": "d"}});
    assert_eq!(world.ask("reader", Method::PUT, &format!("/v3/volumes/{id}"), Some(rename.clone())).await.0, 403);
    assert_eq!(world.ask("member", Method::PUT, &format!("/v3/volumes/{id}"), Some(rename)).await.1["volume"]["name"], "new");
    assert_eq!(world.ask("reader", Method::DELETE, &format!("/v3/volumes/{id}"), None).await.0, 403);
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/volumes/{id}"), None).await.0, 202);
    world.status(&id, "gone").await;
    assert!(world.sim.volumes().is_empty());
    assert_eq!((world.used("volumes").await, world.used("gigabytes").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_change_nothing() {
    let world = world().await;
    for fields in [
        json!({}),
        json!({"size": 0}),
        json!({"size": -1}),
        json!({"size": "x"}),
        json!({"size": 1, "imageRef": IMAGE}),
        json!({"size": 1, "unknown": 1}),
        json!({"size": 1, "name": "n".repeat(256)}),
        json!({"size": 1, "availability_zone": "mars"}),
        json!({"size": 3, "imageRef": IMAGE, "source_volid": "x"}),
        json!({"size": 1, "imageRef": "nowhere"}),
    ] {
        let (status, body) = world.post("/v3/volumes", json!({"volume": fields})).await;
        assert_eq!((status, &body["badRequest"]["code"]), (400, &json!(400)), "{fields}: {body}");
    }
    for body in [json!([]), json!({}), json!({"volume": 1}), json!(null)] {
        assert_eq!(world.post("/v3/volumes", body).await.0, 400);
    }
    for (fields, status) in [
        (json!({"size": 1, "volume_type": "none"}), 404),
        (json!({"source_volid": kit::ids::uuid()}), 404),
        (json!({"source_volid": "none"}), 400),
        (json!({"size": 1, "snapshot_id": "none"}), 400),
    ] {
        assert_eq!(world.post("/v3/volumes", json!({"volume": fields})).await.0, status);
    }
    assert_eq!(world.get("/v3/volumes").await["volumes"], json!([]));
    // before 3.53 unknown keys are ignored
    let body = json!({"volume": {"size": "1", "unknown": 1}});
    assert_eq!(world.send("member", Method::POST, "/v3/volumes", "3.0", Some(body)).await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_come_from_images_volumes_and_snapshots() {
    let world = world().await;
    let first = world.volume(json!({"size": 2, "imageRef": IMAGE})).await;
    let shown = world.get(&format!("/v3/volumes/{first}")).await["volume"].clone();
    assert_eq!(shown["bootable"], "true");
    assert_eq!(shown["volume_image_metadata"]["image_name"], "tiny");
    assert_eq!(shown["volume_image_metadata"]["os_distro"], "cumulo");
    let clone = world.volume(json!({"source_volid": first})).await;
    let shown = world.get(&format!("/v3/volumes/{clone}")).await["volume"].clone();
    assert_eq!((&shown["bootable"], &shown["size"], &shown["source_volid"]), (&json!("true"), &json!(2), &json!(first)));
    let (status, body) = world.post("/v3/snapshots", json!({"snapshot": {"volume_id": first, "name": "s"}})).await;
    assert_eq!(status, 202);
    let snapshot = body["snapshot"]["id"].as_str().unwrap().to_owned();
    let path = format!("/v3/snapshots/{snapshot}");
    world.until("the snapshot is there", async |w| w.get(&path).await["snapshot"]["status"] == "available").await;
    let of_snapshot = world.volume(json!({"snapshot_id": snapshot, "size": 3})).await;
    assert_eq!(world.get(&format!("/v3/volumes/{of_snapshot}")).await["volume"]["snapshot_id"], json!(snapshot));
    // a volume with snapshots stays, until they go with it
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/volumes/{first}"), None).await.0, 400);
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/volumes/{first}?cascade=true"), None).await.0, 202);
    world.status(&first, "gone").await;
    assert_eq!(world.ask("member", Method::GET, &path, None).await.0, 404);
    assert_eq!((world.used("snapshots").await, world.used("volumes").await, world.used("gigabytes").await), (0, 2, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_takes_a_volume_from_reserved_to_in_use_and_back() {
    let world = world().await;
    let id = world.volume(json!({"size": 1})).await;
    let new = json!({"attachment": {"volume_uuid": id, "instance_uuid": "server1"}});
    let (status, body) = world.post("/v3/attachments", new.clone()).await;
    assert_eq!((status, &body["attachment"]["status"], &body["attachment"]["connection_info"]), (200, &json!("reserved"), &json!({})));
    let path = format!("/v3/attachments/{}", body["attachment"]["id"].as_str().unwrap());
    world.status(&id, "reserved").await;
    let other = json!({"attachment": {"volume_uuid": id, "instance_uuid": "server2"}});
    assert_eq!(world.post("/v3/attachments", other).await.0, 400, "two servers want it");
    // one that moves to another host has it on both
    let (status, body) = world.post("/v3/attachments", new.clone()).await;
    assert_eq!(status, 200);
    let second = format!("/v3/attachments/{}", body["attachment"]["id"].as_str().unwrap());
    assert_eq!(world.ask("nova", Method::DELETE, &second, None).await.0, 200);
    world.status(&id, "reserved").await;
    assert_eq!(world.post(&format!("{path}/action"), json!({"os-complete": {}})).await.0, 400, "no connector yet");

    let connector = json!({"attachment": {"connector": {"host": "c1", "mountpoint": "/dev/vdb"}}});
    for _ in 0..2 {
        let (status, body) = world.ask("member", Method::PUT, &path, Some(connector.clone())).await;
        assert_eq!((status, &body["attachment"]["connection_info"]["driver_volume_type"]), (200, &json!("sim")), "{body}");
    }
    world.status(&id, "attaching").await;
    for _ in 0..2 {
        assert_eq!(world.post(&format!("{path}/action"), json!({"os-complete": {}})).await.0, 204);
    }
    let shown = world.get(&format!("/v3/volumes/{id}")).await["volume"].clone();
    assert_eq!((&shown["status"], &shown["attachments"][0]["server_id"]), (&json!("in-use"), &json!("server1")));
    assert_eq!(shown["attachments"][0]["device"], "/dev/vdb");
    assert_eq!(world.sim.volumes()[&id].len(), 1);
    assert_eq!(world.ask("member", Method::DELETE, &format!("/v3/volumes/{id}"), None).await.0, 400);

    let of_server = world.get("/v3/attachments?instance_id=server1").await;
    assert_eq!(of_server["attachments"].as_array().unwrap().len(), 1);
    assert_eq!(world.ask("other", Method::GET, &path, None).await.0, 404);
    assert_eq!(world.ask("member", Method::DELETE, &path, None).await.0, 409, "only compute knows whether the guest let go");
    assert_eq!(world.ask("nova", Method::DELETE, &path, None).await, (200, json!({"attachments": []})));
    world.status(&id, "available").await;
    assert!(world.sim.volumes()[&id].is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_follow_the_table() {
    let world = world().await;
    let id = world.volume(json!({"size": 1})).await;
    let path = format!("/v3/volumes/{id}/action");
    let act = async |who: &str, body: Value| world.ask(who, Method::POST, &path, Some(body)).await.0;
    assert_eq!(act("member", json!({"os-reserve": {}})).await, 202);
    assert_eq!(act("member", json!({"os-reserve": {}})).await, 400);
    assert_eq!(act("member", json!({"os-unreserve": {}})).await, 202);
    assert_eq!(act("member", json!({"os-attach": {"instance_uuid": "s", "mountpoint": "/dev/vdb"}})).await, 202);
    assert_eq!(act("member", json!({"os-begin_detaching": {}})).await, 202);
    assert_eq!(act("member", json!({"os-roll_detaching": {}})).await, 202);
    assert_eq!(act("member", json!({"os-detach": {}})).await, 202);
    assert_eq!(act("member", json!({"os-extend": {"new_size": 1}})).await, 400);
    assert_eq!(act("member", json!({"os-extend": {"new_size": 3}})).await, 202);
    world.status(&id, "available").await;
    assert_eq!(world.get(&format!("/v3/volumes/{id}")).await["volume"]["size"], 3);
    assert_eq!(world.used("gigabytes").await, 3);
    assert_eq!(act("member", json!({"os-set_bootable": {"bootable": true}})).await, 200);
    assert_eq!(act("member", json!({"os-update_readonly_flag": {"readonly": true}})).await, 202);
    assert_eq!(act("member", json!({"os-set_image_metadata": {"metadata": {"k": "v"}}})).await, 200);
    assert_eq!(act("member", json!({"os-unset_image_metadata": {"key": "k"}})).await, 200);
    assert_eq!(act("member", json!({"os-reset_status": {"status": "error"}})).await, 403);
    assert_eq!(act("admin", json!({"os-reset_status": {"status": "nonsense"}})).await, 400);
    assert_eq!(act("admin", json!({"os-reset_status": {"status": "error"}})).await, 202);
    assert_eq!(act("member", json!({"os-nonsense": {}})).await, 400);
    assert_eq!(act("member", json!({"os-extend": {"new_size": 4}, "os-reserve": {}})).await, 400);
    assert_eq!(act("admin", json!({"os-force_delete": {}})).await, 202);
    world.status(&id, "gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_sort_and_page() {
    let world = world().await;
    for (name, size) in [("a", 3), ("b", 1), ("c", 2), ("bb", 1)] {
        world.volume(json!({"name": name, "size": size, "metadata": {"first": name[..1]}})).await;
    }
    let names = async |query: &str| {
        let body = world.get(&format!("/v3/volumes?{query}")).await;
        body["volumes"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("sort=name:asc").await, ["a", "b", "bb", "c"]);
    assert_eq!(names("sort_key=size&sort_dir=desc&limit=2").await, ["a", "c"]);
    assert_eq!(names("").await, ["bb", "c", "b", "a"]);
    assert_eq!(names("name=b").await, ["b"]);
    assert_eq!(names("name~=b&sort=name:asc").await, ["b", "bb"]);
    assert_eq!(names("status=error").await, Vec::<String>::new());
    assert_eq!(names("metadata=%7B%22first%22%3A%22b%22%7D&sort=name").await, ["bb", "b"]);
    let mut path = "/v3/volumes/detail?sort=size:asc,name:desc&limit=1&with_count=true".to_owned();
    let mut seen = Vec::new();
    loop {
        let body = world.get(&path).await;
        assert_eq!(body["count"], 4);
        seen.extend(body["volumes"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap().to_owned()));
        let Some(next) = body["volumes_links"][0]["href"].as_str() else { break };
        path = next.trim_start_matches("http://cloud:8776").to_owned();
    }
    assert_eq!(seen, ["bb", "b", "c", "a"]);
    for query in ["limit=-1", "limit=x", "sort=nonsense", "sort=name:up"] {
        assert_eq!(world.ask("member", Method::GET, &format!("/v3/volumes?{query}"), None).await.0, 400, "{query}");
    }
    assert_eq!(world.ask("other", Method::GET, "/v3/volumes?all_tenants=1", None).await.1, json!({"volumes": []}));
    let (_, all) = world.ask("admin", Method::GET, "/v3/volumes?all_tenants=1", None).await;
    assert_eq!(all["volumes"].as_array().unwrap().len(), 4);
    assert_eq!(world.get("/v3/volumes/summary").await["volume-summary"]["total_size"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_for_the_last_of_a_quota_has_one_winner() {
    let world = world().await;
    let (status, _) = world.ask("admin", Method::PUT, "/v3/os-quota-sets/p1", Some(json!({"quota_set": {"gigabytes": 5}}))).await;
    assert_eq!(status, 200);
    let tries = (0..20).map(|_| world.post("/v3/volumes", json!({"volume": {"size": 1}})));
    let outcomes: Vec<u16> = futures::future::join_all(tries).await.into_iter().map(|(status, _)| status).collect();
    assert_eq!(outcomes.iter().filter(|status| **status == 202).count(), 5);
    assert_eq!(outcomes.iter().filter(|status| **status == 413).count(), 15);
    assert_eq!((world.used("gigabytes").await, world.used("volumes").await), (5, 5));
    let (status, body, headers) = world.send("member", Method::POST, "/v3/volumes", "3.0", Some(json!({"volume": {"size": 1}}))).await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (413, "0"));
    assert!(body["overLimit"]["message"].as_str().unwrap().starts_with("VolumeSizeExceedsAvailableQuota"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smaller_rooms_answer() {
    let world = world().await;
    assert_eq!(world.get("/v3/types/default").await["volume_type"]["name"], "__DEFAULT__");
    assert_eq!(world.get("/v3/types").await["volume_types"].as_array().unwrap().len(), 1);
    assert_eq!(world.get("/v3/limits").await["limits"]["absolute"]["maxTotalVolumes"], 10);
    assert_eq!(world.get("/v3/os-quota-sets/p1/defaults").await["quota_set"]["gigabytes"], 1000);
    assert_eq!(world.ask("member", Method::GET, "/v3/os-quota-sets/p2", None).await.0, 403);
    assert!(world.get("/v3/extensions").await["extensions"].as_array().unwrap().len() > 10);
    assert_eq!(world.ask("member", Method::GET, "/v3/os-services", None).await.0, 403);
    let services = world.ask("admin", Method::GET, "/v3/os-services?binary=cinder-volume", None).await.1;
    assert_eq!((&services["services"][0]["host"], &services["services"][0]["state"]), (&json!("sim1@sim"), &json!("up")));
    let pools = world.ask("admin", Method::GET, "/v3/scheduler-stats/get_pools?detail=true", None).await.1;
    assert_eq!(pools["pools"][0]["name"], "sim1@sim#sim");
    let body = json!({"volume_type": {"name": "fast", "extra_specs": {"multiattach": "<is> True"}}});
    assert_eq!(world.post("/v3/types", body.clone()).await.0, 403);
    let (status, made) = world.ask("admin", Method::POST, "/v3/types", Some(body.clone())).await;
    assert_eq!((status, world.ask("admin", Method::POST, "/v3/types", Some(body)).await.0), (200, 409));
    let id = world.volume(json!({"size": 1, "volume_type": "fast"})).await;
    assert_eq!(world.get(&format!("/v3/volumes/{id}")).await["volume"]["multiattach"], true);
    for server in ["s1", "s2"] {
        let body = json!({"attachment": {"volume_uuid": id, "instance_uuid": server}});
        assert_eq!(world.post("/v3/attachments", body).await.0, 200);
    }
    let path = format!("/v3/types/{}", made["volume_type"]["id"].as_str().unwrap());
    assert_eq!(world.ask("admin", Method::DELETE, &path, None).await.0, 400, "in use");
    let disable = json!({"host": "sim1@sim", "binary": "cinder-volume"});
    assert_eq!(world.ask("admin", Method::PUT, "/v3/os-services/disable", Some(disable)).await.1["status"], "disabled");
    let (_, body) = world.post("/v3/volumes", json!({"volume": {"size": 1}})).await;
    world.status(body["volume"]["id"].as_str().unwrap(), "error").await;
}
