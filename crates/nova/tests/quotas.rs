//! Quotas hold however many ask at once.
#![allow(clippy::unwrap_used)]

mod support;

use futures::future::join_all;
use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, server};

async fn used(cloud: &Cloud) -> (i64, i64) {
    let limits = cloud.ask(MEMBER, "", "GET", "/v2.1/limits", Value::Null).await.body;
    let absolute = &limits["limits"]["absolute"];
    (absolute["totalInstancesUsed"].as_i64().unwrap(), absolute["totalCoresUsed"].as_i64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creates_at_once_exactly_the_quota_is_served() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)]).await;
    let answers = join_all((0..200).map(|_| cloud.ask(MEMBER, "2.1", "POST", "/v2.1/servers", server(json!({}))))).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 202);
    assert_eq!((made.len(), refused.len()), (10, 190));
    let words = "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances";
    assert!(refused.iter().all(|answer| answer.status == 403 && answer.message() == words), "{}", refused[0].body);
    assert_eq!(used(&cloud).await.0, 10);
    let listed = cloud.ask(MEMBER, "", "GET", "/v2.1/servers", Value::Null).await.body;
    let ids: Vec<&str> = listed["servers"].as_array().unwrap().iter().map(|server| server["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 10);
    for id in &ids {
        cloud.wait(id, "ACTIVE").await;
    }
    // whoever deletes twice gives back once
    let paths: Vec<String> = ids.iter().chain(&ids).map(|id| format!("/v2.1/servers/{id}")).collect();
    join_all(paths.iter().map(|path| cloud.ask(MEMBER, "", "DELETE", path, Value::Null))).await;
    for id in ids {
        cloud.wait(id, "GONE").await;
    }
    assert_eq!(used(&cloud).await, (0, 0));
    assert_eq!(cloud.left(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_resources_and_several_servers_in_one_request() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let limits = json!({"quota_set": {"instances": 50, "cores": 7}});
    assert_eq!(cloud.ask(ADMIN, "", "PUT", "/v2.1/os-quota-sets/p", limits).await.status, 200);
    let three = || server(json!({"min_count": 1, "max_count": 3}));
    let answers = join_all((0..20).map(|_| cloud.ask(MEMBER, "2.1", "POST", "/v2.1/servers", three()))).await;
    let refused = answers.iter().filter(|answer| answer.status == 403);
    assert!(refused.clone().count() >= 13 && refused.clone().all(|answer| answer.message().starts_with("Quota exceeded for cores")));
    assert_eq!(used(&cloud).await, (7, 7));
}
