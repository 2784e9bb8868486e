//! What happens to servers is told in its order, to those whom it concerns and to nobody else; who does not listen is let go and may come back.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, OTHER, RESCUE_IMAGE, SHARED_VOLUME, VOLUME};

/// A stream that is read.
struct Events {
    body: Body,
    text: String,
}

#[derive(Debug)]
struct Event {
    id: i64,
    name: String,
    data: Value,
}

impl Events {
    async fn follow(cloud: &Cloud, who: &str, query: &str, seen: Option<i64>) -> Events {
        let mut request = Request::get(format!("/cumulo/v1/events{query}")).header("host", "nova:8774").header("x-auth-token", who);
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let response = cloud.service.call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { body: response.into_body(), text: String::new() }
    }

    /// The next event; `None` when the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n").map(|(event, rest)| (event.to_owned(), rest.to_owned())) {
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    return Some(Event {
                        id: field("id: ").map_or(0, |id| id.parse().unwrap()),
                        name: field("event: ").unwrap().to_owned(),
                        data: serde_json::from_str(data).unwrap(),
                    });
                }
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        }
    }

    /// The events up to one of this name.
    async fn until(&mut self, name: &str) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            events.push(self.next().await.unwrap());
            if events.last().unwrap().name == name {
                return events;
            }
        }
    }
}

fn data(event: &Event) -> &Value {
    &event.data["payload"]["nova_object.data"]
}

async fn delete(cloud: &Cloud, id: &str) {
    assert_eq!(cloud.ask(MEMBER, "", "DELETE", &format!("/v2.1/servers/{id}"), Value::Null).await.status, 204);
}

#[tokio::test]
async fn a_boot_and_a_deletion_are_told_in_their_order() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let mut events = Events::follow(&cloud, MEMBER, "", None).await;
    let id = cloud.active(MEMBER).await;
    let boot = events.until("instance.create.end").await;
    assert_eq!(boot[0].name, "instance.create.start");
    assert!(boot[1..boot.len() - 1].iter().all(|event| event.name == "instance.update"), "{boot:?}");
    assert!(boot.is_sorted_by_key(|event| event.id) && boot.iter().all(|event| data(event)["uuid"] == *id));
    let end = boot.last().unwrap();
    assert_eq!((end.data["event_type"].as_str(), end.data["priority"].as_str()), (Some("instance.create.end"), Some("INFO")));
    assert_eq!(end.data["payload"]["nova_object.name"], "InstanceCreatePayload");
    let shown = data(end);
    assert_eq!((shown["tenant_id"].as_str(), shown["state"].as_str(), shown["host"].as_str()), (Some("p"), Some("active"), Some("h1")));

    let renamed = cloud.ask(MEMBER, "", "PUT", &format!("/v2.1/servers/{id}"), json!({"server": {"name": "other"}})).await;
    assert_eq!(renamed.status, 200);
    let update = events.until("instance.update").await.pop().unwrap();
    assert_eq!((data(&update)["old_display_name"].as_str(), data(&update)["display_name"].as_str()), (Some("s"), Some("other")));

    delete(&cloud, &id).await;
    let names: Vec<String> = events.until("instance.delete.end").await.into_iter().map(|event| event.name).collect();
    assert_eq!(names, ["instance.delete.start", "instance.shutdown.start", "instance.shutdown.end", "instance.delete.end"]);
}

#[tokio::test]
async fn a_boot_that_fails_is_told_with_its_reason() {
    let cloud = Cloud::start(&[("h1", Behaviour::Fail)]).await;
    let mut events = Events::follow(&cloud, MEMBER, "", None).await;
    let id = cloud.boot(MEMBER).await;
    let failed = events.until("instance.create.error").await;
    assert_eq!(failed[0].name, "instance.create.start");
    let error = failed.last().unwrap();
    assert_eq!((error.data["priority"].as_str(), data(error)["uuid"].as_str()), (Some("ERROR"), Some(id.as_str())));
    assert_eq!(data(error)["fault"]["nova_object.data"]["exception_message"], "the image is bad");
}

#[tokio::test]
async fn a_project_hears_of_its_own_servers_only() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let mut others = Events::follow(&cloud, OTHER, "", None).await;
    let mut all = Events::follow(&cloud, ADMIN, "?all_projects=1", None).await;
    let mine = cloud.active(MEMBER).await;
    all.until("instance.create.end").await;
    let theirs = cloud.active(OTHER).await;
    let heard = others.until("instance.create.end").await;
    assert!(heard.iter().all(|event| data(event)["uuid"] == *theirs), "{mine} is not theirs: {heard:?}");
    assert!(all.until("instance.create.end").await.iter().all(|event| data(event)["uuid"] == *theirs));
    let mut one = Events::follow(&cloud, MEMBER, &format!("?server_id={theirs}"), Some(0)).await;
    let mut own = Events::follow(&cloud, MEMBER, &format!("?server_id={mine}"), Some(0)).await;
    assert_eq!(own.next().await.unwrap().name, "instance.create.start");
    assert!(tokio::time::timeout(Duration::from_millis(300), one.next()).await.is_err());

    for (who, query, status) in [(MEMBER, "?all_projects=1", 403), (MEMBER, "?colour=red", 400), ("", "", 401), ("p:nobody", "", 200)] {
        assert_eq!(cloud_status(&cloud, who, query).await, status, "{who} {query}");
    }
}

async fn cloud_status(cloud: &Cloud, who: &str, query: &str) -> u16 {
    let request = Request::get(format!("/cumulo/v1/events{query}")).header("host", "nova:8774").header("x-auth-token", who);
    cloud.service.call(request.body(Body::empty()).unwrap()).await.status().as_u16()
}

#[tokio::test]
async fn who_comes_back_has_missed_nothing_that_is_kept() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let mut events = Events::follow(&cloud, MEMBER, "", None).await;
    let id = cloud.active(MEMBER).await;
    let boot = events.until("instance.create.end").await;
    drop(events);
    delete(&cloud, &id).await;
    cloud.wait(&id, "GONE").await;
    let mut again = Events::follow(&cloud, MEMBER, "", Some(boot[0].id)).await;
    let rest = again.until("instance.delete.end").await;
    let ids = |events: &[Event]| events.iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(&rest)[..boot.len() - 1], ids(&boot)[1..]);
    let mut long_ago = Events::follow(&cloud, MEMBER, "", Some(-7)).await;
    let missed = long_ago.next().await.unwrap();
    assert_eq!((missed.name.as_str(), &missed.data), ("missed", &json!({"after": -7, "before": 1})));
    assert_eq!(long_ago.next().await.unwrap().id, boot[0].id);
    // another process serves the same events
    let cloud = cloud.restart().await;
    let mut elsewhere = Events::follow(&cloud, MEMBER, "", Some(boot[0].id)).await;
    assert_eq!(ids(&elsewhere.until("instance.delete.end").await), ids(&rest));
}

#[tokio::test]
async fn a_reader_that_does_not_keep_up_is_let_go_and_resumes() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let mut slow = Events::follow(&cloud, MEMBER, "", None).await;
    let mut quick = Events::follow(&cloud, ADMIN, "", None).await;
    const LOCKS: usize = 400;
    let reading = tokio::spawn(async move {
        let mut last = 0;
        for _ in 0..LOCKS {
            last = quick.until("instance.lock").await.pop().unwrap().id;
        }
        last
    });
    for _ in 0..LOCKS {
        assert_eq!(cloud.act("q:admin", "2.1", &id, json!({"lock": null})).await.status, 202);
    }
    let newest = reading.await.unwrap();
    let mut heard = Vec::new();
    while let Some(event) = slow.next().await {
        heard.push(event.id);
    }
    assert!(heard.len() < LOCKS, "{} events waited for it", heard.len());
    let mut resumed = Events::follow(&cloud, MEMBER, "", heard.last().copied()).await;
    while heard.last() != Some(&newest) {
        heard.push(resumed.next().await.unwrap().id);
    }
    assert!(heard.windows(2).all(|two| two[0] + 1 == two[1]), "{heard:?}");
}

#[tokio::test]
async fn actions_are_told_with_what_they_are_about() {
    let cloud = Cloud::start(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)]).await;
    let id = cloud.active(MEMBER).await;
    let mut events = Events::follow(&cloud, MEMBER, "", None).await;
    let volumes = format!("/v2.1/servers/{id}/os-volume_attachments");
    let volume = |volume: &str| json!({"volumeAttachment": {"volumeId": volume}});
    assert_eq!(cloud.ask(MEMBER, "2.79", "POST", &volumes, volume(VOLUME)).await.status, 200);
    let begun = events.until("instance.volume_attach.start").await;
    assert_eq!(data(begun.last().unwrap())["volume_id"], VOLUME);
    let told = events.until("instance.volume_attach.end").await;
    let end = told.last().unwrap();
    assert_eq!(end.data["payload"]["nova_object.name"], "InstanceActionVolumePayload");
    assert_eq!(data(end)["block_devices"][0]["nova_object.data"]["volume_id"], VOLUME, "{end:?}");
    assert_eq!(cloud.ask(ADMIN, "2.79", "PUT", &format!("{volumes}/{VOLUME}"), volume(SHARED_VOLUME)).await.status, 202);
    let told = events.until("instance.volume_swap.end").await;
    let swapped = data(told.last().unwrap());
    assert_eq!((&swapped["old_volume_id"], &swapped["new_volume_id"]), (&json!(VOLUME), &json!(SHARED_VOLUME)));
    assert_eq!(cloud.ask(MEMBER, "2.79", "DELETE", &format!("{volumes}/{SHARED_VOLUME}"), Value::Null).await.status, 202);
    let told = events.until("instance.volume_detach.end").await;
    assert_eq!(data(told.last().unwrap())["volume_id"], SHARED_VOLUME);

    let made = cloud.act(MEMBER, "2.79", &id, json!({"createImage": {"name": "i"}})).await;
    let told = events.until("instance.snapshot.end").await;
    assert_eq!(data(told.last().unwrap())["snapshot_image_id"], made.body["image_id"]);
    cloud.settled(&id, "ACTIVE").await;
    assert_eq!(cloud.act(MEMBER, "2.79", &id, json!({"rescue": {"rescue_image_ref": RESCUE_IMAGE}})).await.status, 200);
    let told = events.until("instance.rescue.end").await;
    assert_eq!(data(told.last().unwrap())["rescue_image_ref"], RESCUE_IMAGE);
    cloud.act(MEMBER, "2.79", &id, json!({"unrescue": null})).await;
    cloud.settled(&id, "ACTIVE").await;
    assert_eq!(cloud.act(MEMBER, "2.79", &id, json!({"resize": {"flavorRef": "1"}})).await.status, 202);
    let told = events.until("instance.resize.start").await;
    let named = |name: &str| told.iter().find(|event| event.name == name).unwrap();
    assert_eq!(data(named("instance.resize_prep.start"))["new_flavor"]["nova_object.data"]["flavorid"], "1");
    let exists = named("instance.exists");
    assert_eq!(exists.data["payload"]["nova_object.name"], "InstanceExistsPayload");
    assert!(data(exists)["audit_period"]["nova_object.data"]["audit_period_beginning"].is_string(), "{exists:?}");
}

#[tokio::test]
async fn the_account_of_a_period_is_told_once_and_logged() {
    let config = nova::Config {
        instance_usage_audit: true,
        instance_usage_audit_period: "hour".parse().unwrap(),
        upkeep_interval: Duration::from_millis(50),
        ..support::config()
    };
    let cloud = Cloud::start_with(&[("h1", Behaviour::Run), ("h2", Behaviour::Run)], config).await;
    let id = cloud.active(MEMBER).await;
    let mut events = Events::follow(&cloud, MEMBER, "", None).await;
    // it lives since the epoch, and no account of its host was taken
    let host = cloud.get(&format!("/v2.1/servers/{id}")).await.body["server"]["OS-EXT-SRV-ATTR:host"].clone();
    cloud.sql("UPDATE instances SET launched_at = 1").await;
    cloud.sql("DELETE FROM usage_audits").await;
    let told = events.until("instance.exists").await;
    let exists = data(told.last().unwrap());
    assert_eq!((&exists["uuid"], &exists["request_id"]), (&json!(id), &Value::Null));
    let log = || async { cloud.get("/v2.1/os-instance_usage_audit_log").await.body["instance_usage_audit_logs"].clone() };
    cloud.until("both hosts", async || log().await["num_hosts_done"] == 2).await;
    let logged = log().await;
    assert_eq!((&logged["overall_status"], &logged["total_instances"]), (&json!("ALL hosts done. 0 errors."), &json!(1)), "{logged}");
    assert_eq!(logged["log"][host.as_str().unwrap()]["state"], "DONE", "{logged}");
    let message = logged["log"]["h1"]["message"].as_str().unwrap();
    assert!(message.starts_with("Instance usage audit ran for host h1, "), "{message}");
    let long_ago = cloud.get("/v2.1/os-instance_usage_audit_log/2001-01-01%2000:00:00").await.body["instance_usage_audit_log"].clone();
    assert_eq!((&long_ago["num_hosts_not_run"], &long_ago["log"]), (&json!(2), &json!({})));
}
