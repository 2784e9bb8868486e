//! What administrators see and change of hosts: hypervisors, services, aggregates, zones.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{ADMIN, Behaviour, Cloud, MEMBER, UPTIME};

#[tokio::test]
async fn a_hypervisor_says_how_long_it_is_up() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let uuid = cloud.get("/v2.1/os-hypervisors").await.body["hypervisors"][0]["id"].as_str().unwrap().to_owned();
    let ask = async |who: &str, version: &str, id: &str| {
        cloud.ask(who, version, "GET", &format!("/v2.1/os-hypervisors/{id}/uptime"), Value::Null).await
    };
    let answer = ask(ADMIN, "2.1", "1").await;
    assert_eq!((answer.status.as_u16(), &answer.body["hypervisor"]["uptime"]), (200, &Value::from(UPTIME)), "{}", answer.body);
    assert_eq!(ask(ADMIN, "2.53", &uuid).await.body["hypervisor"]["id"], Value::from(uuid.clone()));
    assert_eq!(ask(ADMIN, "2.1", "77").await.status, 404);
    assert_eq!(ask(MEMBER, "2.1", "1").await.status, 403);
}
