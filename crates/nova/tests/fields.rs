//! Every field of what is shown, at every version at which something comes or goes, as the API's reference has them. `fields.txt` has one a line:
//! of what, the field, the versions that have it where not all do, and `admin` where only administrators see it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER};

const NEWEST: u16 = 104;

struct Field<'l> {
    of: &'l str,
    name: &'l str,
    since: u16,
    until: u16,
    admin: bool,
}

fn read(line: &str) -> Field<'_> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let minor = |text: &str| text.strip_prefix("2.").map(|minor| minor.parse::<u16>().unwrap());
    let mut field = Field { of: words[0], name: words[1], since: 1, until: NEWEST, admin: words[2..].contains(&"admin") };
    for word in words[2..].iter().filter(|word| word.contains("2.")) {
        let (since, until) = word.trim_end_matches('+').split_once('-').unwrap_or((word.trim_end_matches('+'), ""));
        field.since = minor(since).unwrap_or(1);
        field.until = minor(until).unwrap_or(NEWEST);
    }
    field
}

/// Where each thing is shown: the path, and where in the answer it stands.
fn places(id: &str, request: &str, group: &str) -> Vec<(&'static str, String, &'static str)> {
    vec![
        ("server", format!("/servers/{id}"), "/server"),
        ("server.flavor", format!("/servers/{id}"), "/server/flavor"),
        ("flavor", "/flavors/42".into(), "/flavor"),
        ("keypair", "/os-keypairs/k".into(), "/keypair"),
        ("group", format!("/os-server-groups/{group}"), "/server_group"),
        ("limits", "/limits".into(), "/limits/absolute"),
        ("quota", "/os-quota-sets/p".into(), "/quota_set"),
        ("action", format!("/servers/{id}/os-instance-actions/{request}"), "/instanceAction"),
        ("aggregate", "/os-aggregates/1".into(), "/aggregate"),
        ("service", "/os-services?binary=nova-compute".into(), "/services/0"),
        ("hypervisor", "/os-hypervisors/detail".into(), "/hypervisors/0"),
    ]
}

/// Only administrators see these at all.
const ADMINISTRATIVE: [&str; 3] = ["aggregate", "service", "hypervisor"];

#[tokio::test]
async fn every_field_at_every_version() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let actions = cloud.get(&format!("/v2.1/servers/{id}/os-instance-actions")).await;
    let request = actions.body["instanceActions"][0]["request_id"].as_str().unwrap().to_owned();
    let key = json!({"keypair": {"name": "k", "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJZk1ZyW0bCkfMZqyYOyY8Wb3Jz3Tt3rjZz4N1bXbLkS a"}});
    let group = json!({"server_group": {"name": "g", "policies": ["affinity"]}});
    for who in [ADMIN, MEMBER] {
        assert!(cloud.ask(who, "2.2", "POST", "/v2.1/os-keypairs", key.clone()).await.status.is_success());
    }
    let group =
        cloud.ask(MEMBER, "2.15", "POST", "/v2.1/os-server-groups", group).await.body["server_group"]["id"].as_str().unwrap().to_owned();
    let made = cloud.ask(ADMIN, "2.1", "POST", "/v2.1/os-aggregates", json!({"aggregate": {"name": "a", "availability_zone": "z"}})).await;
    assert_eq!(made.body["aggregate"]["id"], 1);

    let fields: Vec<Field<'_>> = include_str!("fields.txt").lines().map(read).collect();
    let mut minors: BTreeSet<u16> = fields.iter().flat_map(|field| [field.since, field.since - 1, field.until, field.until + 1]).collect();
    minors.retain(|minor| (1..=NEWEST).contains(minor));
    let mut wrong: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for minor in minors {
        for (of, path, place) in places(&id, &request, &group) {
            for who in [ADMIN, MEMBER].into_iter().filter(|who| *who == ADMIN || !ADMINISTRATIVE.contains(&of)) {
                let answer = cloud.ask(who, &format!("2.{minor}"), "GET", &format!("/v2.1{path}"), Value::Null).await;
                let shown = answer.body.pointer(place).unwrap_or_else(|| panic!("{path} at 2.{minor}: {}", answer.body));
                let has: BTreeSet<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
                let wanted =
                    |field: &&Field<'_>| field.of == of && (field.since..=field.until).contains(&minor) && (who == ADMIN || !field.admin);
                let should: BTreeSet<&str> = fields.iter().filter(wanted).map(|field| field.name).collect();
                for name in has.symmetric_difference(&should) {
                    let what = if has.contains(name) { "has" } else { "lacks" };
                    wrong.entry(format!("{of} {what} {name} for {who}")).or_default().push(minor);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.iter().map(|(what, minors)| format!("{what} at 2.{minors:?}\n")).collect::<String>());
}
