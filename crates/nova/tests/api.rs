//! The API over requests: what a create refuses and in which words, lists and pages, fields by version, who may do what.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{
    ADMIN, ASKING_PORT, BUSY_VOLUME, Behaviour, Cloud, IMAGE, LARGE_IMAGE, MEMBER, NOWHERE, OTHER, QUEUED_IMAGE, SHARED_VOLUME, VOLUME,
    server,
};

#[tokio::test]
async fn a_create_says_what_is_wrong() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let volume = |id: &str| {
        json!({"imageRef": "", "block_device_mapping_v2": [
            {"source_type": "volume", "destination_type": "volume", "uuid": id, "boot_index": 0},
        ]})
    };
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        ("2.1", json!({"name": ""}), 400, "Invalid input for field/attribute name. Value: . '' is too short"),
        ("2.1", json!({"flavorRef": "77"}), 400, "Flavor 77 could not be found."),
        ("2.1", json!({"imageRef": NOWHERE}), 400, "Can not find requested image"),
        ("2.1", json!({"imageRef": "nonsense"}), 400, "'nonsense' is not valid under any of the given schemas"),
        ("2.1", json!({"imageRef": ""}), 400, "Missing imageRef attribute"),
        ("2.1", json!({"imageRef": QUEUED_IMAGE}), 400, "is not active."),
        ("2.1", json!({"imageRef": LARGE_IMAGE}), 400, "Flavor's disk is too small for requested image."),
        ("2.1", json!({"networks": [{"uuid": NOWHERE}]}), 400, "Network 99999999-9999-4999-8999-999999999999 could not be found."),
        ("2.1", json!({"networks": [{"port": NOWHERE}]}), 400, "Port id 99999999-9999-4999-8999-999999999999 could not be found."),
        ("2.37", json!({"networks": null}), 400, "None is not valid under any of the given schemas"),
        ("2.1", json!({"networks": "auto"}), 400, "networks"),
        ("2.1", json!({"key_name": "none"}), 400, "Invalid key_name provided."),
        ("2.1", json!({"security_groups": [{"name": "web"}]}), 400, "Security group web not found for project p."),
        ("2.1", json!({"availability_zone": "moon"}), 400, "The requested availability zone is not available"),
        ("2.1", json!({"availability_zone": "nova:h1"}), 403, "forced_host"),
        ("2.1", json!({"user_data": "%%%"}), 400, "is not a 'base64'"),
        ("2.1", json!({"user_data": "A".repeat(65_536)}), 400, "is too long"),
        ("2.1", json!({"metadata": {"k": 1}}), 400, "is not of type 'string'"),
        ("2.1", json!({"min_count": 3, "max_count": 2}), 400, "min_count must be <= max_count"),
        ("2.1", json!({"min_count": 0}), 400, "less than the minimum of 1"),
        ("2.1", json!({"min_count": 11}), 403, "Quota exceeded for instances: Requested 11, but already used 0 of 10 instances"),
        ("2.1", json!({"accessIPv4": "::1"}), 400, "is not a 'ipv4'"),
        ("2.1", json!({"OS-DCF:diskConfig": "OFTEN"}), 400, "is not one of ['AUTO', 'MANUAL']"),
        ("2.1", json!({"colour": "red"}), 400, "Additional properties are not allowed ('colour' was unexpected)"),
        ("2.18", json!({"description": "d"}), 400, "Additional properties are not allowed ('description' was unexpected)"),
        ("2.51", json!({"tags": ["a"]}), 400, "Additional properties are not allowed ('tags' was unexpected)"),
        ("2.52", json!({"tags": ["a,b"]}), 400, "'a,b' does not match"),
        ("2.57", json!({"personality": []}), 400, "Additional properties are not allowed ('personality' was unexpected)"),
        ("2.1", volume(NOWHERE), 400, "Block Device Mapping is Invalid: failed to get volume"),
        ("2.1", volume(BUSY_VOLUME), 400, "status must be 'available'"),
        ("2.1", json!({"block_device_mapping_v2": [{"source_type": "blank", "destination_type": "volume"}]}), 400, "non-zero size"),
        ("2.59", volume(SHARED_VOLUME), 400, "Multiattach volumes are only supported starting with compute API version 2.60."),
        ("2.71", json!({"networks": [{"port": ASKING_PORT}]}), 400, "is not supported until microversion 2.72."),
        ("2.1", json!({"flavorRef": "mine"}), 403, "Only volume-backed servers are allowed for flavors with zero disk."),
    ];
    let new = json!({"flavor": {"name": "mine", "ram": 64, "vcpus": 1, "disk": 0, "id": "mine"}});
    assert_eq!(cloud.ask(ADMIN, "", "POST", "/v2.1/flavors", new).await.status, 200);
    for (version, more, status, words) in cases {
        let answer = cloud.ask(MEMBER, version, "POST", "/v2.1/servers", server(more.clone())).await;
        answer.must_say(status, words, &format!("{more}"));
    }
    assert_eq!(cloud.get("/v2.1/servers").await.body, json!({"servers": []}));
    assert_eq!(cloud.left(), Vec::<String>::new());
    assert_eq!(cloud.ask("p:reader", "", "POST", "/v2.1/servers", server(json!({}))).await.status, 403);
    // the older generation ignores what it does not know
    let answer = cloud.ask(MEMBER, "", "POST", "/v2/p/servers", server(json!({"colour": "red", "min_count": 1, "max_count": 1}))).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let location = answer.headers["location"].to_str().unwrap();
    assert!(location.starts_with("http://nova:8774/v2/p/servers/"), "{location}");
}

#[tokio::test]
async fn a_zero_disk_flavor_is_for_volumes_and_administrators() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let new = json!({"flavor": {"name": "mine", "ram": 64, "vcpus": 1, "disk": 0, "id": "mine"}});
    cloud.ask(ADMIN, "", "POST", "/v2.1/flavors", new).await;
    let from_volume = json!({"flavorRef": "mine", "imageRef": "", "block_device_mapping_v2":
        [{"source_type": "volume", "destination_type": "volume", "uuid": VOLUME, "boot_index": 0}]});
    for (who, more) in [(MEMBER, from_volume), (ADMIN, json!({"flavorRef": "mine"}))] {
        let answer = cloud.ask(who, "", "POST", "/v2.1/servers", server(more)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
}

#[tokio::test]
async fn paths_outside_of_the_versions_are_answered_with_a_choice_and_others_not_found() {
    let cloud = Cloud::start(&[]).await;
    for (method, path) in [("GET", "/nope"), ("GET", "/servers"), ("POST", "/servers"), ("GET", "/v3/servers")] {
        let answer = cloud.ask("", "", method, path, Value::Null).await;
        assert_eq!(answer.status, 300, "{method} {path}: {}", answer.body);
        let choices = answer.body["choices"].as_array().unwrap();
        let links: Vec<&Value> = choices.iter().map(|choice| &choice["links"][0]["href"]).collect();
        assert_eq!(links, [&json!(format!("http://nova:8774/v2{path}")), &json!(format!("http://nova:8774/v2.1{path}"))]);
    }
    for path in ["/v2.1/nope", "/v2/nope", "/v2.1/p/nope", "/v2.1/q/nope", "/v2.1/servers/nope/nope"] {
        assert_eq!(cloud.ask("", "", "GET", path, Value::Null).await.status, 401, "{path}");
        let answer = cloud.ask(MEMBER, "", "GET", path, Value::Null).await;
        assert_eq!((answer.status.as_u16(), answer.message()), (404, "The resource could not be found."), "{path}");
    }
    assert_eq!(cloud.ask("", "", "GET", "/cumulo/v1/events", Value::Null).await.status, 401, "Cumulo's own is found without a version");
}

#[tokio::test]
async fn a_server_from_a_volume_and_several_at_once() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let more = json!({"imageRef": "", "block_device_mapping_v2": [
        {"source_type": "volume", "destination_type": "volume", "uuid": VOLUME, "boot_index": 0, "delete_on_termination": false},
    ]});
    let answer = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", server(more)).await;
    let id = answer.body["server"]["id"].as_str().unwrap();
    let shown = cloud.wait(id, "ACTIVE").await;
    assert_eq!(shown["image"], "");
    assert_eq!(shown["os-extended-volumes:volumes_attached"], json!([{"id": VOLUME, "delete_on_termination": false}]));
    let several = server(json!({"name": "many", "min_count": 2, "max_count": 3, "return_reservation_id": true}));
    let answer = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", several).await;
    let reservation = answer.body["reservation_id"].as_str().unwrap();
    let listed = cloud.get(&format!("/v2.1/servers?reservation_id={reservation}&sort_key=display_name&sort_dir=asc")).await;
    let names: Vec<&str> = listed.body["servers"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["many-1", "many-2", "many-3"]);
}

#[tokio::test]
async fn lists_filter_page_and_hide_what_is_others() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let mut ids = Vec::new();
    for name in ["ant", "bee", "cat"] {
        let answer = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", server(json!({"name": name}))).await;
        ids.push(answer.body["server"]["id"].as_str().unwrap().to_owned());
    }
    for id in &ids {
        cloud.wait(id, "ACTIVE").await;
    }
    let names = async |who: &str, version: &str, query: &str| -> Vec<String> {
        let answer = cloud.ask(who, version, "GET", &format!("/v2.1/servers/detail?{query}"), Value::Null).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        answer.body["servers"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(MEMBER, "", "").await, ["cat", "bee", "ant"]);
    assert_eq!(names(MEMBER, "", "name=ee").await, ["bee"]);
    assert_eq!(names(MEMBER, "", "name=^c").await, ["cat"]);
    assert_eq!(names(MEMBER, "", "name=ant|^b").await, ["bee", "ant"]);
    assert_eq!(names(MEMBER, "", "name=^(c|x)[a-c]t$").await, ["cat"]);
    assert_eq!(names(MEMBER, "", "name=CAT").await, Vec::<String>::new());
    assert_eq!(names(MEMBER, "", "reservation_id=^r-").await.len(), 3);
    assert_eq!(names(ADMIN, "", "hostname=^be%2B$&node=h[0-9]").await, ["bee"]);
    assert_eq!(names(MEMBER, "2.90", "hostname=ee").await, ["bee"]);
    cloud.sql("UPDATE instances SET addresses = ',10.0.0.5,fe80::1,' WHERE name = 'bee'").await;
    for (pattern, found) in [("^10", 1), ("0.5$", 1), ("^(192|10)\\.", 1), ("^fe80", 1), ("0.0", 1), ("^0", 0), ("5,fe", 0)] {
        assert_eq!(names(MEMBER, "", &format!("ip={pattern}")).await.len(), found, "{pattern}");
    }
    assert_eq!(names(MEMBER, "", "sort_key=progress&sort_key=display_name&sort_dir=asc").await, ["ant", "bee", "cat"]);
    assert_eq!(names(MEMBER, "", "_name=a&metadata=b").await.len(), 3);
    assert_eq!(names(MEMBER, "", "status=ACTIVE&sort_key=display_name&sort_dir=asc").await, ["ant", "bee", "cat"]);
    assert_eq!(names(MEMBER, "", "status=nonsense").await, Vec::<String>::new());
    assert_eq!(names(MEMBER, "", "status=SHUTOFF").await, Vec::<String>::new());
    assert_eq!(names(MEMBER, "", &format!("image={IMAGE}&limit=1")).await, ["cat"]);
    assert_eq!(names(MEMBER, "", &format!("limit=1&marker={}", ids[2])).await, ["bee"]);
    assert_eq!(names(MEMBER, "", &format!("sort_key=display_name&sort_dir=asc&marker={}", ids[0])).await, ["bee", "cat"]);
    assert_eq!(names(MEMBER, "", "deleted=True").await.len(), 3);
    assert_eq!(names(OTHER, "", "").await, Vec::<String>::new());
    assert_eq!(names(ADMIN, "", "all_tenants=1&project_id=p").await.len(), 3);
    assert_eq!(names(ADMIN, "", "all_tenants=&project_id=q").await.len(), 0);
    let status = async |who: &str, version: &str, path: &str| cloud.ask(who, version, "GET", path, Value::Null).await.status.as_u16();
    for (who, version, query, expected) in [
        (MEMBER, "", "all_tenants=1", 403),
        (MEMBER, "2.38", "status=nonsense", 400),
        (MEMBER, "", "marker=nonsense", 400),
        (MEMBER, "", "limit=-1", 400),
        (MEMBER, "", "sort_key=secret", 400),
        (MEMBER, "2.74", "colour=red", 200),
        (MEMBER, "2.75", "colour=red", 400),
        (MEMBER, "", "name=*", 400),
        (MEMBER, "", "name=", 400),
        (MEMBER, "", "ip=(", 400),
        (ADMIN, "", "_name=a", 400),
        (ADMIN, "", "metadata=a", 400),
        (MEMBER, "", "sort_key=name", 400),
        (MEMBER, "2.74", "sort_key=vcpus", 200),
        (MEMBER, "2.75", "sort_key=vcpus", 400),
        (MEMBER, "2.72", "sort_key=locked", 200),
        (MEMBER, "2.75", "sort_key=locked", 200),
        (MEMBER, "2.75", "sort_key=locked_by", 200),
        (MEMBER, "2.75", "instance_name=a", 400),
        (MEMBER, "2.75", "display_name=a", 200),
    ] {
        assert_eq!(status(who, version, &format!("/v2.1/servers?{query}")).await, expected, "{query} at {version}");
    }
    assert_eq!(status(OTHER, "", &format!("/v2.1/servers/{}", ids[0])).await, 404);
    let page = cloud.ask(MEMBER, "", "GET", "/v2.1/servers?limit=2", Value::Null).await;
    let next = page.body["servers_links"][0]["href"].as_str().unwrap();
    assert_eq!(next, format!("http://nova:8774/v2.1/servers?limit=2&marker={}", ids[1]));
}

#[tokio::test]
async fn fields_come_and_go_with_the_version() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.boot(MEMBER).await;
    cloud.wait(&id, "ACTIVE").await;
    let show = async |who: &str, version: &str| {
        cloud.ask(who, version, "GET", &format!("/v2.1/servers/{id}"), Value::Null).await.body["server"].clone()
    };
    let old = show(MEMBER, "2.1").await;
    assert_eq!((old["flavor"]["id"].as_str(), old.get("locked"), old.get("tags")), (Some("42"), None, None));
    assert_eq!((old.get("OS-EXT-SRV-ATTR:host"), old["config_drive"].as_str()), (None, Some("")));
    assert_eq!(show(MEMBER, "2.9").await["locked"], false);
    assert_eq!(show(MEMBER, "2.26").await["tags"], json!([]));
    assert_eq!(show(MEMBER, "2.47").await["flavor"]["original_name"], "m1.nano");
    assert_eq!(show(ADMIN, "2.16").await["host_status"], "UP");
    assert_eq!(show(MEMBER, "2.71").await["server_groups"], json!([]));
    let answer = cloud.ask(MEMBER, "2.105", "GET", "/v2.1/servers", Value::Null).await;
    assert_eq!(answer.status, 406);
    assert_eq!(answer.message(), "Version 2.105 is not supported by the API. Minimum is 2.1 and maximum is 2.104.");
    assert_eq!(cloud.ask(MEMBER, "", "GET", &format!("/v2.1/q/servers/{id}"), Value::Null).await.message(), "Malformed request url");
    assert_eq!(cloud.ask("", "", "GET", "/v2.1/servers", Value::Null).await.status, 401);
    assert_eq!(cloud.ask("", "", "GET", "/", Value::Null).await.body["versions"][1]["version"], "2.104");
}

#[tokio::test]
async fn flavors_keypairs_groups_quotas_and_hosts_answer() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    assert_eq!(cloud.get("/v2.1/flavors").await.body["flavors"].as_array().unwrap().len(), 6);
    let new = json!({"flavor": {"name": "mine", "ram": 64, "vcpus": 1, "disk": 0, "id": "mine"}});
    assert_eq!(cloud.ask(ADMIN, "", "POST", "/v2.1/flavors", new.clone()).await.status, 200);
    assert_eq!(cloud.ask(ADMIN, "", "POST", "/v2.1/flavors", new.clone()).await.status, 409);
    assert_eq!(cloud.ask(MEMBER, "", "POST", "/v2.1/flavors", new).await.status, 403);
    let pair = json!({"keypair": {"name": "k"}});
    let made = cloud.ask(MEMBER, "2.2", "POST", "/v2.1/os-keypairs", pair.clone()).await;
    assert_eq!(made.status, 201);
    assert!(made.body["keypair"]["private_key"].as_str().unwrap().starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    assert_eq!(cloud.ask(MEMBER, "2.2", "POST", "/v2.1/os-keypairs", pair).await.message(), "Key pair 'k' already exists.");
    let group = json!({"server_group": {"name": "g", "policy": "anti-affinity"}});
    let group = cloud.ask(MEMBER, "2.64", "POST", "/v2.1/os-server-groups", group).await.body["server_group"]["id"].clone();
    let mut apart = server(json!({"key_name": "k"}));
    apart["os:scheduler_hints"] = json!({"group": group});
    let first = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", apart.clone()).await;
    cloud.wait(first.body["server"]["id"].as_str().unwrap(), "ACTIVE").await;
    let second = cloud.ask(MEMBER, "", "POST", "/v2.1/servers", apart).await;
    let fault = cloud.wait(second.body["server"]["id"].as_str().unwrap(), "ERROR").await["fault"]["message"].clone();
    assert!(fault.as_str().unwrap().contains("ServerGroupAntiAffinityFilter"), "{fault}");
    let quota = cloud.ask(ADMIN, "", "PUT", "/v2.1/os-quota-sets/p", json!({"quota_set": {"instances": 1}})).await;
    assert_eq!(quota.status, 400, "{}", quota.body);
    let quota = cloud.ask(ADMIN, "", "PUT", "/v2.1/os-quota-sets/p", json!({"quota_set": {"instances": 50}})).await;
    assert_eq!(quota.body["quota_set"]["instances"], 50);
    assert_eq!(cloud.ask(OTHER, "", "GET", "/v2.1/os-quota-sets/p", Value::Null).await.status, 403);
    let hosts = cloud.get("/v2.1/os-hypervisors/detail").await;
    assert_eq!((&hosts.body["hypervisors"][0]["state"], &hosts.body["hypervisors"][0]["running_vms"]), (&json!("up"), &json!(1)));
    let zones = cloud.ask(MEMBER, "", "GET", "/v2.1/os-availability-zone", Value::Null).await;
    assert_eq!(zones.body["availabilityZoneInfo"][0]["zoneName"], "nova");
    let image = cloud.ask(MEMBER, "", "GET", &format!("/v2/p/images/{IMAGE}"), Value::Null).await;
    assert_eq!(image.body["image"]["status"], "ACTIVE");
    assert_eq!(cloud.ask(MEMBER, "2.36", "GET", &format!("/v2.1/images/{IMAGE}"), Value::Null).await.status, 404);
    let event = json!({"events": [{"name": "network-vif-plugged", "server_uuid": support::NOWHERE, "status": "completed"}]});
    assert_eq!(cloud.ask("p:service", "", "POST", "/v2.1/os-server-external-events", event).await.status, 404);
}
