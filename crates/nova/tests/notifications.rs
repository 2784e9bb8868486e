//! What happens to servers is told in its order, to those whom it concerns and to nobody else; who does not listen is let go and may come back.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use support::{ADMIN, Behaviour, Cloud, MEMBER, OTHER};

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
