//! What administrators see and change of hosts: hypervisors, services, aggregates, zones.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, UPTIME};

#[tokio::test]
async fn a_hypervisor_says_how_long_it_is_up() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let uuid = cloud.get("/v2.1/os-hypervisors").await.body["hypervisors"][0]["id"].as_str().unwrap().to_owned();
    let ask = async |who: &str, version: &str, id: &str| {
        cloud.ask(who, version, "GET", &format!("/v2.1/os-hypervisors/{id}/uptime"), Value::Null).await
    };
    let number = cloud.ask(ADMIN, "2.1", "GET", "/v2.1/os-hypervisors", Value::Null).await.body["hypervisors"][0]["id"].to_string();
    let answer = ask(ADMIN, "2.1", &number).await;
    assert_eq!((answer.status.as_u16(), &answer.body["hypervisor"]["uptime"]), (200, &Value::from(UPTIME)), "{}", answer.body);
    assert_eq!(ask(ADMIN, "2.53", &uuid).await.body["hypervisor"]["id"], Value::from(uuid.clone()));
    assert_eq!(ask(ADMIN, "2.1", "77").await.status, 404);
    assert_eq!(ask(MEMBER, "2.1", &number).await.status, 403);
}

#[tokio::test]
async fn services_are_disabled_forced_down_and_deleted() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)]).await;
    let put = async |version: &str, id: &str, body: Value| cloud.ask(ADMIN, version, "PUT", &format!("/v2.1/os-services/{id}"), body).await;
    let computes = cloud.get("/v2.1/os-services?binary=nova-compute").await.body["services"].clone();
    let (one, number) =
        (computes[0]["id"].as_str().unwrap(), cloud.ask(ADMIN, "2.1", "GET", "/v2.1/os-services?host=h2", Value::Null).await);
    for (body, words) in [
        (json!({}), "No updates were requested"),
        (json!({"status": "off"}), "is not one of ['enabled', 'disabled']"),
        (json!({"disabled_reason": "why"}), "requires that status is 'disabled'"),
        (json!({"status": "enabled", "disabled_reason": "why"}), "requires that status is 'disabled'"),
        (json!({"status": "disabled", "colour": "red"}), "('colour' was unexpected)"),
        (json!({"forced_down": "perhaps"}), "forced_down"),
    ] {
        let answer = put("2.53", one, body).await;
        answer.must_say(400, words, "");
    }
    let answer = put("2.53", one, json!({"status": "disabled", "disabled_reason": "broken", "forced_down": true})).await;
    let shown = &answer.body["service"];
    assert_eq!(
        (&shown["status"], &shown["disabled_reason"], &shown["forced_down"], &shown["state"]),
        (&json!("disabled"), &json!("broken"), &json!(true), &json!("down"))
    );
    // the answer lists services in no order
    let (disabled, other) = if shown["host"] == "h1" { ("h1", "h2") } else { ("h2", "h1") };
    let traits = |host| cloud.neighbours.0.lock().unwrap().traits_of(host);
    assert_eq!((traits(disabled), traits(other)), (json!(["COMPUTE_STATUS_DISABLED"]), json!([])));
    assert_eq!(put("2.53", "h1", json!({"status": "enabled"})).await.status, 400);
    assert_eq!(put("2.53", support::NOWHERE, json!({"status": "enabled"})).await.status, 404);

    let named = json!({"host": "h2", "binary": "nova-compute"});
    assert_eq!(put("2.1", "disable", named.clone()).await.body["service"]["status"], "disabled");
    assert_eq!(
        put("2.1", "enable", named.clone()).await.body,
        json!({"service": {"host": "h2", "binary": "nova-compute", "status": "enabled"}})
    );
    assert_eq!(put("2.1", "disable-log-reason", named.clone()).await.status, 400);
    assert_eq!(put("2.10", "force-down", named.clone()).await.status, 404);
    assert_eq!(put("2.1", "enable", json!({"host": "h9", "binary": "nova-compute"})).await.status, 404);
    let forced = json!({"host": "h2", "binary": "nova-compute", "forced_down": true});
    assert_eq!(put("2.11", "force-down", forced.clone()).await.body["service"]["forced_down"], json!(true));
    let refused = put("2.10", "disable", forced).await;
    assert!(refused.status == 400 && refused.message().contains("'forced_down' was unexpected"), "{}", refused.body);
    let refused = put("2.52", "disable", json!({"host": "h1", "binary": "nova-scheduler"})).await;
    let words = "Updating a nova-scheduler service is not supported. Only nova-compute services can be updated.";
    assert_eq!((refused.status.as_u16(), refused.message()), (400, words));
    assert_eq!(cloud.get("/v2.1/os-services?colour=red").await.status, 400);
    assert_eq!(cloud.ask(ADMIN, "2.74", "GET", "/v2.1/os-services?colour=red", Value::Null).await.status, 200);

    let number = number.body["services"][0]["id"].as_i64().unwrap();
    let delete =
        async |version: &str, id: &str| cloud.ask(ADMIN, version, "DELETE", &format!("/v2.1/os-services/{id}"), Value::Null).await.status;
    assert_eq!(delete("2.1", "h2").await, 400);
    assert_eq!(delete("2.53", &number.to_string()).await, 400);
    assert_eq!(delete("2.1", &number.to_string()).await, 204);
    assert_eq!(delete("2.1", &number.to_string()).await, 404);
    assert_eq!(cloud.get("/v2.1/os-hypervisors").await.body["hypervisors"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_host_stays_while_servers_are_on_their_way_from_it() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)]).await;
    let id = cloud.boot(MEMBER).await;
    let source = cloud.wait(&id, "ACTIVE").await["OS-EXT-SRV-ATTR:host"].clone();
    assert_eq!(cloud.act(ADMIN, "", &id, json!({"migrate": null})).await.status, 202);
    cloud.settled(&id, "VERIFY_RESIZE").await;
    let path = format!("/v2.1/os-services?binary=nova-compute&host={}", source.as_str().unwrap());
    let service = format!("/v2.1/os-services/{}", cloud.get(&path).await.body["services"][0]["id"].as_str().unwrap());
    let refused = cloud.ask(ADMIN, "2.53", "DELETE", &service, Value::Null).await;
    assert_eq!(refused.status, 409);
    assert!(refused.message().starts_with("Unable to delete compute service that has in-progress migrations."), "{}", refused.body);
    assert_eq!(cloud.act(MEMBER, "", &id, json!({"confirmResize": null})).await.status, 204);
    cloud.settled(&id, "ACTIVE").await;
    assert_eq!(cloud.ask(ADMIN, "2.53", "DELETE", &service, Value::Null).await.status, 204);
}

#[tokio::test]
async fn aggregates_make_zones() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let ask =
        async |method: &str, path: &str, body: Value| cloud.ask(ADMIN, "2.79", method, &format!("/v2.1/os-aggregates{path}"), body).await;
    let made = ask("POST", "", json!({"aggregate": {"name": "a", "availability_zone": "east"}})).await;
    assert_eq!((made.status.as_u16(), &made.body["aggregate"]["availability_zone"]), (200, &json!("east")), "{}", made.body);
    let path = format!("/{}/action", made.body["aggregate"]["id"]);
    assert_eq!(ask("POST", "", json!({"aggregate": {"name": "a"}})).await.status, 409);
    assert_eq!(ask("POST", &path, json!({"add_host": {"host": "h9"}})).await.status, 404);
    assert_eq!(ask("POST", &path, json!({"add_host": {"name": "h1"}})).await.status, 400);
    assert_eq!(ask("POST", &path, json!({"add_host": {"host": "h1"}})).await.body["aggregate"]["hosts"], json!(["h1"]));
    assert_eq!(ask("POST", &path, json!({"add_host": {"host": "h1"}})).await.status, 409);
    let zones = cloud.get("/v2.1/os-availability-zone").await.body;
    assert_eq!(zones["availabilityZoneInfo"][0]["zoneName"], "east");
    let server = cloud.boot(MEMBER).await;
    assert_eq!(cloud.wait(&server, "ACTIVE").await["OS-EXT-AZ:availability_zone"], "east");
    let moved = ask("POST", &path, json!({"set_metadata": {"metadata": {"availability_zone": "west"}}})).await;
    assert!(moved.status == 400 && moved.message().contains("contain instances in this zone"), "{}", moved.body);
    let set = ask("POST", &path, json!({"set_metadata": {"metadata": {"rack": "1", "none": null}}})).await;
    assert_eq!(set.body["aggregate"]["metadata"], json!({"availability_zone": "east", "rack": "1"}));
    let one = path.trim_end_matches("/action");
    assert_eq!(ask("DELETE", one, Value::Null).await.status, 400, "it has a host");
    assert_eq!(ask("POST", &path, json!({"remove_host": {"host": "h1"}})).await.status, 200);
    assert_eq!(ask("POST", &path, json!({"remove_host": {"host": "h1"}})).await.status, 404);
    assert_eq!(ask("DELETE", one, Value::Null).await.status, 200);
    assert_eq!(ask("GET", one, Value::Null).await.status, 404);
}

#[tokio::test]
async fn hosts_were_asked_for_by_themselves_until_2_42() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let server = cloud.boot(MEMBER).await;
    cloud.wait(&server, "ACTIVE").await;
    let ask = async |version: &str, method: &str, path: &str, body: Value| {
        cloud.ask(ADMIN, version, method, &format!("/v2.1/os-hosts{path}"), body).await
    };
    let listed = ask("2.1", "GET", "?zone=nova", Value::Null).await.body;
    assert_eq!(listed["hosts"], json!([{"host_name": "h1", "service": "compute", "zone": "nova"}]));
    let shown = ask("2.42", "GET", "/h1", Value::Null).await.body;
    let resources: Vec<&Value> = shown["host"].as_array().unwrap().iter().map(|row| &row["resource"]).collect();
    assert_eq!((resources[0]["project"].as_str(), resources[0]["cpu"].as_i64()), (Some("(total)"), Some(64)));
    assert_eq!((resources[3]["project"].as_str(), resources[3]["memory_mb"].as_i64()), (Some("p"), Some(128)));
    assert_eq!(ask("2.1", "PUT", "/h1", json!({"status": "disable"})).await.body, json!({"host": "h1", "status": "disabled"}));
    assert_eq!(ask("2.1", "PUT", "/h1", json!({"status": "sleep"})).await.status, 400);
    assert_eq!(ask("2.1", "PUT", "/h1", json!({"maintenance_mode": "enable"})).await.status, 501);
    assert_eq!(ask("2.1", "GET", "/h1/reboot", Value::Null).await.status, 501);
    assert_eq!(ask("2.1", "GET", "/h9/reboot", Value::Null).await.status, 404);
    assert_eq!(ask("2.43", "GET", "", Value::Null).await.status, 404);
}
