//! Volume types: who sees them, what they promise, which is the default; QoS specs.

use http::Method;
use serde_json::{Value, json};

use crate::support::{World, world};

async fn make(world: &World, fields: Value) -> String {
    let (status, body) = world.ask("admin", Method::POST, "/v3/types", Some(json!({"volume_type": fields}))).await;
    assert_eq!(status, 200, "{body}");
    body["volume_type"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_type_is_for_whom_it_was_granted() {
    let world = world().await;
    let id = make(&world, json!({"name": "secret", "os-volume-type-access:is_public": false})).await;
    let path = format!("/v3/types/{id}");
    assert_eq!(world.ask("member", Method::GET, &path, None).await.0, 404);
    assert_eq!(world.post("/v3/volumes", json!({"volume": {"size": 1, "volume_type": "secret"}})).await.0, 404);
    let act = async |who: &str, body: Value| world.ask(who, Method::POST, &format!("{path}/action"), Some(body)).await.0;
    assert_eq!(act("member", json!({"addProjectAccess": {"project": "p1"}})).await, 403);
    assert_eq!(act("admin", json!({"addProjectAccess": {"project": "p1"}})).await, 202);
    assert_eq!(act("admin", json!({"addProjectAccess": {"project": "p1"}})).await, 409);
    assert_eq!(world.ask("member", Method::GET, &path, None).await.0, 200);
    let (_, list) = world.ask("admin", Method::GET, &format!("{path}/os-volume-type-access"), None).await;
    assert_eq!(list, json!({"volume_type_access": [{"volume_type_id": id, "project_id": "p1"}]}));
    let names = world.get("/v3/types?sort=name:asc").await["volume_types"].clone();
    assert_eq!(names.as_array().unwrap().iter().map(|kind| kind["name"].as_str().unwrap()).collect::<Vec<_>>(), ["__DEFAULT__", "secret"]);
    let (_, all) = world.ask("admin", Method::GET, "/v3/types?is_public=None", None).await;
    assert_eq!(all["volume_types"].as_array().unwrap().len(), 2);
    assert_eq!(act("admin", json!({"removeProjectAccess": {"project": "p1"}})).await, 202);
    assert_eq!(act("admin", json!({"removeProjectAccess": {"project": "p1"}})).await, 404);
    assert_eq!(world.ask("member", Method::GET, &path, None).await.0, 404);
    let open = make(&world, json!({"name": "open"})).await;
    let grant = json!({"addProjectAccess": {"project": "p1"}});
    assert_eq!(world.ask("admin", Method::POST, &format!("/v3/types/{open}/action"), Some(grant)).await.0, 409);
    assert_eq!(world.ask("admin", Method::GET, &format!("/v3/types/{open}/os-volume-type-access"), None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn extra_specs_come_and_go() {
    let world = world().await;
    let id = make(&world, json!({"name": "t", "extra_specs": {"a": "1", "multiattach": "<is> True"}})).await;
    let path = format!("/v3/types/{id}/extra_specs");
    let ask = async |method: Method, path: &str, body: Option<Value>| world.ask("admin", method, path, body).await;
    assert_eq!(ask(Method::PUT, &format!("{path}/a"), Some(json!({"a": "2"}))).await, (200, json!({"a": "2"})));
    assert_eq!(ask(Method::PUT, &format!("{path}/a"), Some(json!({"b": "2"}))).await.0, 400);
    assert_eq!(ask(Method::POST, &path, Some(json!({"extra_specs": {"c": "3"}}))).await.0, 200);
    assert_eq!(ask(Method::POST, &path, Some(json!({"extra_specs": {"c/": "3"}}))).await.0, 400);
    assert_eq!(ask(Method::GET, &format!("{path}/c"), None).await, (200, json!({"c": "3"})));
    assert_eq!(world.get(&path).await, json!({"extra_specs": {"multiattach": "<is> True"}}), "what users see");
    assert_eq!(world.ask("member", Method::GET, &format!("{path}/c"), None).await.0, 404);
    assert_eq!(ask(Method::DELETE, &format!("{path}/c"), None).await.0, 202);
    assert_eq!(ask(Method::DELETE, &format!("{path}/c"), None).await.0, 404);
    let found = world.get("/v3/types?extra_specs=%7B%22multiattach%22%3A%22%3Cis%3E%20True%22%7D").await;
    assert_eq!(found["volume_types"].as_array().unwrap().len(), 1);
    assert_eq!(ask(Method::PUT, &format!("/v3/types/{id}"), Some(json!({"volume_type": {}}))).await.0, 400);
    let rename = json!({"volume_type": {"name": "u", "description": "d", "is_public": false}});
    assert_eq!(ask(Method::PUT, &format!("/v3/types/{id}"), Some(rename)).await.1["volume_type"]["is_public"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_has_a_default_type() {
    let world = world().await;
    let id = make(&world, json!({"name": "ours"})).await;
    let at = async |method: Method, path: &str, body: Option<Value>| {
        let (status, body, _) = world.send("admin", method, path, "3.62", body).await;
        (status, body)
    };
    assert_eq!(at(Method::GET, "/v3/default-types/p1", None).await.0, 404);
    let set = json!({"default_type": {"volume_type": "ours"}});
    let want = json!({"default_type": {"project_id": "p1", "volume_type_id": id}});
    assert_eq!(at(Method::PUT, "/v3/default-types/p1", Some(set)).await, (200, want.clone()));
    assert_eq!(at(Method::GET, "/v3/default-types/p1", None).await, (200, want));
    assert_eq!(at(Method::GET, "/v3/default-types", None).await.1["default_types"].as_array().unwrap().len(), 1);
    let volume = world.volume(json!({"size": 1})).await;
    assert_eq!(world.get(&format!("/v3/volumes/{volume}")).await["volume"]["volume_type"], "ours");
    assert_eq!(world.get("/v3/types/default").await["volume_type"]["name"], "ours");
    assert_eq!(at(Method::DELETE, &format!("/v3/types/{id}"), None).await.0, 400, "a default stays");
    assert_eq!(at(Method::DELETE, "/v3/default-types/p1", None).await.0, 204);
    assert_eq!(at(Method::DELETE, &format!("/v3/types/{id}"), None).await.0, 400, "in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn qos_specs_are_kept_and_associated() {
    let world = world().await;
    let ask = async |method: Method, path: &str, body: Option<Value>| world.ask("admin", method, path, body).await;
    let new = json!({"qos_specs": {"name": "slow", "consumer": "front-end", "total_iops_sec": "100"}});
    let (status, body) = ask(Method::POST, "/v3/qos-specs", Some(new.clone())).await;
    assert_eq!((status, &body["qos_specs"]["specs"]), (200, &json!({"total_iops_sec": "100"})));
    assert_eq!(ask(Method::POST, "/v3/qos-specs", Some(new)).await.0, 409);
    let bad = json!({"qos_specs": {"name": "x", "consumer": "nobody"}});
    assert_eq!(ask(Method::POST, "/v3/qos-specs", Some(bad)).await.0, 400);
    let id = body["qos_specs"]["id"].as_str().unwrap();
    let path = format!("/v3/qos-specs/{id}");
    let more = json!({"qos_specs": {"consumer": "both", "read_iops_sec": "5"}});
    assert_eq!(ask(Method::PUT, &path, Some(more)).await.0, 200);
    assert_eq!(ask(Method::GET, &path, None).await.1["qos_specs"]["specs"]["read_iops_sec"], "5");
    assert_eq!(ask(Method::PUT, &format!("{path}/delete_keys"), Some(json!({"keys": ["none"]}))).await.0, 400);
    assert_eq!(ask(Method::PUT, &format!("{path}/delete_keys"), Some(json!({"keys": ["read_iops_sec"]}))).await.0, 202);
    let kind = make(&world, json!({"name": "t"})).await;
    assert_eq!(ask(Method::GET, &format!("{path}/associate?vol_type_id={kind}"), None).await.0, 202);
    assert_eq!(ask(Method::GET, &format!("/v3/types/{kind}"), None).await.1["volume_type"]["qos_specs_id"], id);
    let (_, list) = ask(Method::GET, &format!("{path}/associations"), None).await;
    assert_eq!(list["qos_associations"], json!([{"association_type": "volume_type", "name": "t", "id": kind}]));
    assert_eq!(ask(Method::DELETE, &path, None).await.0, 400);
    assert_eq!(ask(Method::GET, &format!("{path}/disassociate?vol_type_id={kind}"), None).await.0, 202);
    assert_eq!(ask(Method::GET, &format!("{path}/disassociate_all"), None).await.0, 202);
    assert_eq!(ask(Method::DELETE, &path, None).await.0, 202);
    assert_eq!(ask(Method::GET, &path, None).await.0, 404);
    assert_eq!(world.ask("member", Method::GET, "/v3/qos-specs", None).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_may_ask_for_what_no_host_has() {
    let world = world().await;
    let ask = async |method: Method, path: &str, body: Option<Value>| world.ask("admin", method, path, body).await;
    let secret = make(&world, json!({"name": "secret"})).await;
    let path = format!("/v3/types/{secret}/encryption");
    assert_eq!(ask(Method::GET, &path, None).await, (200, json!({})));
    let wish = json!({"encryption": {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "control_location": "front-end"}});
    let (status, body) = ask(Method::POST, &path, Some(wish.clone())).await;
    assert_eq!((status, &body["encryption"]["provider"]), (200, &json!("luks")));
    assert_eq!(ask(Method::POST, &path, Some(wish)).await.0, 400);
    let id = body["encryption"]["encryption_id"].as_str().unwrap();
    let change = json!({"encryption": {"key_size": 512}});
    assert_eq!(ask(Method::PUT, &format!("{path}/{id}"), Some(change)).await, (200, json!({"encryption": {"key_size": 512}})));
    assert_eq!(ask(Method::GET, &format!("{path}/key_size"), None).await, (200, json!({"key_size": 512})));
    // it would be left in the clear
    let change = json!({"encryption": {"cipher": "rot13"}});
    assert_eq!(ask(Method::PUT, &format!("{path}/{id}"), Some(change)).await.0, 200);
    assert_eq!(world.post("/v3/volumes", json!({"volume": {"size": 1, "volume_type": "secret"}})).await.0, 400);
    assert_eq!(ask(Method::DELETE, &format!("{path}/{id}"), None).await.0, 202);
    world.volume(json!({"size": 1, "volume_type": "secret"})).await;
    make(&world, json!({"name": "rare", "extra_specs": {"vendor_name": "nobody"}})).await;
    let (_, body) = world.post("/v3/volumes", json!({"volume": {"size": 1, "volume_type": "rare"}})).await;
    world.status(body["volume"]["id"].as_str().unwrap(), "error").await;
}
