//! Flavors, keypairs, groups, quotas, usage, the old proxies and what is gone: over requests.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, IMAGE, MEMBER, NOWHERE, OTHER, VOLUME, server};

#[tokio::test]
async fn flavors_are_made_found_and_given() {
    let cloud = Cloud::start(&[]).await;
    let ask = async |who: &str, version: &str, method: &str, path: &str, body: Value| {
        cloud.ask(who, version, method, &format!("/v2.1/flavors{path}"), body).await
    };
    let flavor = |more: Value| {
        let mut body = json!({"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 0}});
        body["flavor"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (more, words) in [
        (json!({"ram": 0}), "less than the minimum of 1"),
        (json!({"vcpus": "many"}), "vcpus"),
        (json!({"name": ""}), "'' is too short"),
        (json!({"id": "a/b"}), "does not match"),
        (json!({"id": ""}), "'' is too short"),
        (json!({"swap": ""}), "swap"),
        (json!({"rxtx_factor": 0}), "rxtx_factor"),
        (json!({"colour": "red"}), "('colour' was unexpected)"),
        (json!({"description": "d"}), "('description' was unexpected)"),
    ] {
        let answer = ask(ADMIN, "2.1", "POST", "", flavor(more)).await;
        answer.must_say(400, words, "");
    }
    let private = flavor(json!({"id": "f1", "os-flavor-access:is_public": false, "swap": "0", "description": "mine"}));
    let made = ask(ADMIN, "2.75", "POST", "", private.clone()).await;
    assert_eq!((made.status.as_u16(), &made.body["flavor"]["swap"], &made.body["flavor"]["description"]), (200, &json!(0), &json!("mine")));
    assert_eq!(ask(ADMIN, "2.75", "POST", "", private).await.status, 409);
    assert_eq!(ask(ADMIN, "2.1", "GET", "/f1/os-flavor-access", Value::Null).await.body, json!({"flavor_access": []}));
    assert_eq!(ask(MEMBER, "2.1", "GET", "/f1", Value::Null).await.status, 404);

    let add = json!({"addTenantAccess": {"tenant": "q"}});
    assert_eq!(ask(MEMBER, "2.1", "POST", "/f1/action", add.clone()).await.status, 403);
    let given = ask(ADMIN, "2.1", "POST", "/f1/action", add.clone()).await;
    assert_eq!(given.body, json!({"flavor_access": [{"flavor_id": "f1", "tenant_id": "q"}]}));
    assert_eq!(ask(ADMIN, "2.1", "POST", "/f1/action", add.clone()).await.status, 409);
    assert_eq!(ask(ADMIN, "2.7", "POST", "/1/action", add).await.status, 409);
    assert_eq!(ask(ADMIN, "2.18", "POST", "/f1/action", json!({"addTenantAccess": {"tenant": "nobody"}})).await.status, 400);
    assert_eq!(ask(OTHER, "2.1", "GET", "/f1", Value::Null).await.status, 200);
    assert_eq!(ask(ADMIN, "2.1", "POST", "/f1/action", json!({"removeTenantAccess": {"tenant": "q"}})).await.status, 200);
    assert_eq!(ask(ADMIN, "2.1", "POST", "/f1/action", json!({"removeTenantAccess": {"tenant": "q"}})).await.status, 404);

    let specs = json!({"extra_specs": {"hw:cpu_policy": "shared", "ssd": "yes"}});
    assert_eq!(ask(ADMIN, "2.1", "POST", "/f1/os-extra_specs", specs.clone()).await.body, specs);
    assert_eq!(ask(ADMIN, "2.61", "GET", "/f1", Value::Null).await.body["flavor"]["extra_specs"], specs["extra_specs"]);
    assert_eq!(ask(ADMIN, "2.1", "PUT", "/f1/os-extra_specs/ssd", json!({"hdd": "no"})).await.status, 400);
    assert_eq!(ask(ADMIN, "2.1", "PUT", "/f1/os-extra_specs/ssd", json!({"ssd": "no"})).await.body, json!({"ssd": "no"}));
    assert_eq!(ask(ADMIN, "2.1", "DELETE", "/f1/os-extra_specs/ssd", Value::Null).await.status, 200);
    assert_eq!(ask(ADMIN, "2.1", "GET", "/f1/os-extra_specs/ssd", Value::Null).await.status, 404);

    let page = ask(MEMBER, "2.1", "GET", "?limit=2&sort_key=memory_mb&sort_dir=desc", Value::Null).await.body;
    let ids: Vec<&str> = page["flavors"].as_array().unwrap().iter().map(|f| f["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["5", "4"]);
    assert!(page["flavors_links"][0]["href"].as_str().unwrap().ends_with("limit=2&sort_key=memory_mb&sort_dir=desc&marker=4"));
    assert_eq!(ask(MEMBER, "2.1", "GET", "?minRam=9000", Value::Null).await.body["flavors"].as_array().unwrap().len(), 1);
    for bad in ["?minRam=much", "?limit=-1", "?marker=zzz", "?sort_key=colour", "?sort_dir=up&sort_key=name"] {
        assert_eq!(ask(MEMBER, "2.1", "GET", bad, Value::Null).await.status, 400, "{bad}");
    }
    assert_eq!(ask(ADMIN, "2.1", "GET", "?is_public=false", Value::Null).await.body["flavors"][0]["id"], "f1");
    assert_eq!(ask(ADMIN, "2.54", "PUT", "/f1", json!({"flavor": {"description": "x"}})).await.status, 404);
    assert_eq!(ask(ADMIN, "2.55", "PUT", "/f1", json!({"flavor": {"description": null}})).await.body["flavor"]["description"], Value::Null);
    let described = async |flavor: Value| ask(ADMIN, "2.55", "PUT", "/f1", json!({"flavor": flavor})).await;
    assert_eq!(described(json!({"description": "long ".repeat(1000)})).await.status, 200);
    for (flavor, words) in [
        (json!({}), "'description' is a required property"),
        (json!({"description": "x".repeat(65_536)}), "is too long"),
        (json!({"description": "\u{0}"}), "cannot be printed"),
    ] {
        let answer = described(flavor).await;
        answer.must_say(400, words, "");
    }
    assert!(ask(ADMIN, "2.55", "GET", "/f1", Value::Null).await.body["flavor"]["description"].as_str().unwrap().starts_with("long"));
    for key in ["description", "updated_at", "vcpu_weight"] {
        assert_eq!(ask(MEMBER, "2.1", "GET", &format!("?sort_key={key}"), Value::Null).await.status, 200, "{key}");
    }
    assert_eq!(ask(ADMIN, "2.1", "DELETE", "/f1", Value::Null).await.status, 202);
    assert_eq!(ask(ADMIN, "2.1", "DELETE", "/f1", Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_user_can_have_less_than_the_project() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let ask = async |who: &str, method: &str, path: &str, body: Value| {
        cloud.ask(who, "2.79", method, &format!("/v2.1/os-quota-sets/{path}"), body).await
    };
    let set = |limits: Value| json!({"quota_set": limits});
    assert_eq!(ask(ADMIN, "PUT", "p?user_id=user-member", set(json!({"instances": 11}))).await.status, 400);
    assert_eq!(ask(ADMIN, "PUT", "p?user_id=user-member", set(json!({"instances": 1}))).await.body["quota_set"]["instances"], 1);
    assert_eq!(ask(ADMIN, "GET", "p", Value::Null).await.body["quota_set"]["instances"], 10);
    assert_eq!(ask(ADMIN, "GET", "p?user_id=user-member", Value::Null).await.body["quota_set"]["instances"], 1);
    cloud.boot(MEMBER).await;
    let refused = cloud.ask(MEMBER, "2.1", "POST", "/v2.1/servers", server(json!({}))).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert!(refused.message().contains("Requested 1, but already used 1 of 1 instances"), "{}", refused.body);
    cloud.boot(ADMIN).await;
    let detail = ask(ADMIN, "GET", "p/detail?user_id=user-member", Value::Null).await.body;
    assert_eq!(detail["quota_set"]["instances"], json!({"limit": 1, "in_use": 1, "reserved": 0}));
    assert_eq!(ask(ADMIN, "GET", "p/detail", Value::Null).await.body["quota_set"]["instances"]["in_use"], 2);

    assert_eq!(ask(ADMIN, "PUT", "p", set(json!({"instances": 1}))).await.status, 400, "two are used");
    assert_eq!(ask(ADMIN, "PUT", "p", set(json!({"instances": 1, "force": true}))).await.status, 200);
    assert_eq!(ask(ADMIN, "PUT", "p", set(json!({"instances": -2}))).await.status, 400);
    assert_eq!(ask(ADMIN, "PUT", "p", set(json!({"floating_ips": 2}))).await.status, 400, "neutron's since 2.36");
    assert_eq!(ask(ADMIN, "PUT", "nobody", set(json!({"cores": 1}))).await.status, 400);
    assert_eq!(ask(ADMIN, "GET", "p?colour=red", Value::Null).await.status, 400);
    assert_eq!(ask(OTHER, "GET", "p", Value::Null).await.status, 403);
    assert_eq!(ask(ADMIN, "DELETE", "p", Value::Null).await.status, 202);
    assert_eq!(ask(ADMIN, "GET", "p?user_id=user-member", Value::Null).await.body["quota_set"]["instances"], 10);
}

#[tokio::test]
async fn usage_counts_the_hours_of_servers() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let server = cloud.boot(MEMBER).await;
    cloud.wait(&server, "ACTIVE").await;
    let ask = async |who: &str, version: &str, path: &str| {
        cloud.ask(who, version, "GET", &format!("/v2.1/os-simple-tenant-usage{path}"), Value::Null).await
    };
    let all = ask(ADMIN, "2.1", "?start=2020-01-01T00:00:00&detailed=1").await.body;
    assert_eq!(
        (&all["tenant_usages"][0]["tenant_id"], &all["tenant_usages"][0]["server_usages"][0]["instance_id"]),
        (&json!("p"), &json!(server))
    );
    assert!(ask(ADMIN, "2.1", "").await.body["tenant_usages"][0].get("server_usages").is_none());
    let mine = ask(MEMBER, "2.40", "/p?limit=1").await.body;
    let shown = &mine["tenant_usage"]["server_usages"][0];
    assert_eq!(
        (&shown["state"], &shown["memory_mb"], &shown["flavor"], &shown["ended_at"]),
        (&json!("active"), &json!(128), &json!("m1.nano"), &Value::Null)
    );
    assert!(mine["tenant_usage_links"][0]["href"].as_str().unwrap().contains(&format!("marker={server}")));
    assert_eq!(ask(MEMBER, "2.40", &format!("/p?limit=1&marker={server}")).await.body, json!({"tenant_usage": {}}));
    assert_eq!(ask(MEMBER, "2.1", "/p?start=2020-01-01T00:00:00&end=2020-02-01T00:00:00").await.body, json!({"tenant_usage": {}}));
    assert_eq!(ask(MEMBER, "2.1", "/p?start=2020-02-01T00:00:00&end=2020-01-01T00:00:00").await.status, 400);
    assert_eq!(ask(MEMBER, "2.1", "/p?start=yesterday").await.status, 400);
    assert_eq!(ask(OTHER, "2.1", "/p").await.status, 403);
    assert_eq!(ask(MEMBER, "2.1", "").await.status, 403);
    let log = cloud.get("/v2.1/os-instance_usage_audit_log").await.body;
    assert_eq!(log["instance_usage_audit_logs"]["hosts_not_run"], json!(["h1"]));
    assert_eq!(cloud.get("/v2.1/os-instance_usage_audit_log/yesterday").await.status, 400);
}

#[tokio::test]
async fn keypairs_have_checked_names_and_kinds() {
    let cloud = Cloud::start(&[]).await;
    let post =
        async |version: &str, keypair: Value| cloud.ask(MEMBER, version, "POST", "/v2.1/os-keypairs", json!({"keypair": keypair})).await;
    for (keypair, words) in [
        (json!({"name": ""}), "'' is too short"),
        (json!({"name": "a@b"}), "Only expected characters"),
        (json!({"name": "k", "type": "pgp"}), "is not one of ['ssh', 'x509']"),
        (json!({"name": "k", "public_key": "ssh-rsa nonsense"}), "failed to generate fingerprint"),
        (json!({"name": "k", "colour": "red"}), "('colour' was unexpected)"),
    ] {
        let answer = post("2.2", keypair).await;
        answer.must_say(400, words, "");
    }
    assert_eq!(post("2.1", json!({"name": "k", "type": "ssh"})).await.status, 400, "types came with 2.2");
    assert_eq!(post("2.1", json!({"name": "old"})).await.status, 200);
    let made = post("2.2", json!({"name": "new"})).await;
    assert!(made.status == 201 && made.body["keypair"]["private_key"].is_string());
    assert_eq!(post("2.2", json!({"name": "new"})).await.status, 409);
    assert_eq!(post("2.10", json!({"name": "theirs", "user_id": "somebody"})).await.status, 403);
    let page = cloud.ask(MEMBER, "2.35", "GET", "/v2.1/os-keypairs?limit=1", Value::Null).await.body;
    assert!(page["keypairs"][0]["keypair"]["name"] == "new" && page["keypairs_links"].is_array(), "{page}");
    assert_eq!(cloud.ask(MEMBER, "2.35", "GET", "/v2.1/os-keypairs?marker=none", Value::Null).await.status, 400);
    assert_eq!(cloud.ask(MEMBER, "2.1", "DELETE", "/v2.1/os-keypairs/old", Value::Null).await.status, 202);
    assert_eq!(cloud.ask(MEMBER, "2.2", "DELETE", "/v2.1/os-keypairs/new", Value::Null).await.status, 204);
}

#[tokio::test]
async fn what_is_gone_says_so_and_proxies_end() {
    let cloud = Cloud::start(&[]).await;
    for path in
        ["os-cells", "os-fping", "os-agents", "os-cloudpipe", "os-floating-ips-bulk", "os-security-group-default-rules", "os-fixed-ips/1"]
    {
        assert_eq!(cloud.get(&format!("/v2.1/{path}")).await.status, 410, "{path}");
    }
    assert_eq!(cloud.ask(MEMBER, "2.1", "POST", "/v2.1/os-networks", json!({})).await.status, 410);
    assert_eq!(cloud.ask(MEMBER, "2.1", "GET", &format!("/v2.1/servers/{NOWHERE}/os-virtual-interfaces"), Value::Null).await.status, 410);
    let proxies = [
        ("images", 35),
        ("os-networks", 35),
        ("os-tenant-networks", 35),
        ("os-floating-ips", 35),
        ("os-floating-ip-pools", 35),
        ("os-security-groups", 35),
    ];
    for (path, last) in proxies {
        let at = async |minor: u16| cloud.ask(MEMBER, &format!("2.{minor}"), "GET", &format!("/v2.1/{path}"), Value::Null).await.status;
        assert_eq!(at(last + 1).await, 404, "{path}");
        if path != "images" {
            assert_eq!(at(last).await, 200, "{path}");
        }
    }
    let image = cloud.ask(MEMBER, "2.1", "GET", &format!("/v2.1/images/{IMAGE}"), Value::Null).await.body;
    assert_eq!((&image["image"]["status"], &image["image"]["progress"]), (&json!("ACTIVE"), &json!(100)));
    let metadata = async |version: &str| cloud.ask(MEMBER, version, "GET", &format!("/v2.1/images/{IMAGE}/metadata"), Value::Null).await;
    assert_eq!((metadata("2.38").await.body, metadata("2.39").await.status.as_u16()), (json!({"metadata": {}}), 404));
    let snapshot = json!({"snapshot": {"volume_id": NOWHERE, "create_info": {"snapshot_id": NOWHERE, "type": "qcow2", "new_file": "f"}}});
    assert_eq!(cloud.ask(ADMIN, "2.1", "POST", "/v2.1/os-assisted-volume-snapshots", snapshot).await.status, 400);
    let version = cloud.ask("", "", "GET", "/v2.1/versions/v2.0", Value::Null).await;
    assert_eq!(version.body["version"]["id"], "v2.0");
}

#[tokio::test]
async fn networks_are_all_that_neutron_shows_and_more_of_them_to_operators() {
    let cloud = Cloud::start(&[]).await;
    let networks = async |who: &str, path: &str| cloud.ask(who, "2.35", "GET", &format!("/v2.1/{path}"), Value::Null).await.body;
    let seen = networks(MEMBER, "os-networks").await;
    let labels: Vec<&Value> = seen["networks"].as_array().unwrap().iter().map(|network| &network["label"]).collect();
    assert_eq!(labels, ["private", "public"], "external networks too");
    let fields = |answer: &Value| answer["networks"][0].as_object().unwrap().len();
    assert_eq!((fields(&seen), fields(&networks(ADMIN, "os-networks").await)), (11, 32));
    assert_eq!(networks(MEMBER, "os-tenant-networks").await["networks"][1]["label"], "public");
}

#[tokio::test]
async fn who_may_do_what() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    const ANYBODY: &str = "p:reader";
    let rows: &[(&str, &str, &str)] = &[
        ("GET", "/flavors", ANYBODY),
        ("GET", "/flavors/detail", ANYBODY),
        ("POST", "/flavors", ADMIN),
        ("DELETE", "/flavors/1", ADMIN),
        ("POST", "/flavors/1/os-extra_specs", ADMIN),
        ("GET", "/flavors/1/os-flavor-access", ADMIN),
        ("GET", "/limits", ANYBODY),
        ("GET", "/extensions", ANYBODY),
        ("GET", "/os-availability-zone", ANYBODY),
        ("GET", "/os-availability-zone/detail", ADMIN),
        ("GET", "/os-aggregates", ADMIN),
        ("POST", "/os-aggregates", ADMIN),
        ("GET", "/os-hypervisors", ADMIN),
        ("GET", "/os-hypervisors/detail", ADMIN),
        ("GET", "/os-hypervisors/statistics", ADMIN),
        ("GET", "/os-services", ADMIN),
        ("PUT", "/os-services/enable", ADMIN),
        ("GET", "/os-hosts", ADMIN),
        ("GET", "/os-quota-sets/p", ANYBODY),
        ("GET", "/os-quota-sets/p/defaults", ANYBODY),
        ("PUT", "/os-quota-sets/p", ADMIN),
        ("DELETE", "/os-quota-sets/p", ADMIN),
        ("GET", "/os-quota-class-sets/default", ADMIN),
        ("GET", "/os-server-groups", ANYBODY),
        ("POST", "/os-server-groups", MEMBER),
        ("GET", "/os-simple-tenant-usage", ADMIN),
        ("GET", "/os-simple-tenant-usage/p", ANYBODY),
        ("GET", "/os-instance_usage_audit_log", ADMIN),
        ("GET", "/os-keypairs", ANYBODY),
        ("POST", "/os-assisted-volume-snapshots", ADMIN),
        ("POST", "/os-server-external-events", ADMIN),
    ];
    let rank = |who: &str| [ANYBODY, MEMBER, ADMIN].iter().position(|have| *have == who).unwrap();
    for (method, path, least) in rows {
        for who in [ANYBODY, MEMBER, ADMIN] {
            let body = if *method == "GET" || *method == "DELETE" { Value::Null } else { json!({}) };
            let answer = cloud.ask(who, "2.1", method, &format!("/v2.1{path}"), body).await;
            let refused = answer.status == 403;
            assert_eq!(refused, rank(who) < rank(least), "{who} {method} {path}: {}", answer.body);
            assert!(answer.status.as_u16() < 500, "{who} {method} {path}: {}", answer.body);
        }
        assert_eq!(cloud.ask("", "2.1", method, &format!("/v2.1{path}"), Value::Null).await.status, 401, "{method} {path}");
    }
}

#[tokio::test]
async fn snapshots_that_only_a_guest_could_take_are_answered_at_once() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let attach = json!({"volumeAttachment": {"volumeId": VOLUME}});
    let attached = cloud.ask(MEMBER, "", "POST", &format!("/v2.1/servers/{id}/os-volume_attachments"), attach).await;
    assert_eq!(attached.status, 200, "{}", attached.body);
    let snapshot = json!({"snapshot": {"volume_id": VOLUME, "create_info": {"snapshot_id": NOWHERE, "type": "qcow2", "new_file": "f"}}});
    let taken = cloud.ask(ADMIN, "", "POST", "/v2.1/os-assisted-volume-snapshots", snapshot).await;
    assert_eq!(taken.body, json!({"snapshot": {"id": NOWHERE, "volumeId": VOLUME}}));
    let path = format!("/v2.1/os-assisted-volume-snapshots/{NOWHERE}?delete_info=%7B%22volume_id%22%3A%22{VOLUME}%22%7D");
    assert_eq!(cloud.ask(ADMIN, "", "DELETE", &path, Value::Null).await.status, 204);
}
