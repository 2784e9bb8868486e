//! What OpenStack's own glance was seen to answer, where it is not to be guessed: words, ranges, sorting, what is refused first.

use axum::body::Body;
use serde_json::{Value, json};

use crate::common::{ADMIN, ALICE, Answer, BOB, Cloud, cloud};

const BYTES: [(&str, &str); 1] = [("content-type", "application/octet-stream")];
const READER: &str = "alice:reader";

fn message(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.bytes).into_owned();
    match serde_json::from_str::<Value>(&text) {
        Ok(body) => body["message"].as_str().unwrap_or_default().to_owned(),
        Err(_) => text,
    }
}

fn says(answer: &Answer, status: u16, words: &str) {
    let text = message(answer);
    assert!(answer.status == status && text.contains(words), "{} {text}, not {status} {words}", answer.status);
}

async fn names(cloud: &Cloud, query: &str) -> Vec<String> {
    let list = cloud.get(ALICE, &format!("/v2/images?{query}")).await.json();
    list["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn ranges_are_of_bytes_and_one_at_a_time() {
    let cloud = cloud().await;
    let id = cloud.raw_image(ALICE, "x").await;
    let file = format!("/v2/images/{id}/file");
    assert_eq!(cloud.ask(ALICE, "PUT", &file, &BYTES, Body::from("0123456789")).await.status, 204);
    let ask = async |header: (&str, &str)| cloud.ask(ALICE, "GET", &file, &[header], Body::empty()).await;
    for header in [("range", "bytes=2-4"), ("content-range", "bytes 2-4/*"), ("content-range", "bytes 2-4/10")] {
        let part = ask(header).await;
        let shown = ["content-range", "content-md5"].map(|name| part.headers[name].to_str().unwrap());
        assert_eq!((part.status.as_u16(), &part.bytes[..], shown[0], shown[1].len()), (206, &b"234"[..], "bytes 2-4/10", 32));
    }
    says(&ask(("range", "bytes=0-1,3-4")).await, 400, "Requests with multiple ranges are not supported in Glance.");
    for header in [("range", "items=0-1"), ("range", "bytes=10-"), ("content-range", "bytes 5-2/*")] {
        says(&ask(header).await, 416, "The Range requested is not available.");
    }
}

#[tokio::test]
async fn lists_are_sorted_in_one_way() {
    let cloud = cloud().await;
    for name in ["a", "b:c", "d"] {
        cloud.raw_image(ALICE, name).await;
    }
    assert_eq!(names(&cloud, "sort_dir=asc").await, ["a", "b:c", "d"], "by time");
    assert_eq!(names(&cloud, "sort_dir=desc").await, ["d", "b:c", "a"]);
    assert_eq!(names(&cloud, "name=eq:a").await, ["a"]);
    assert_eq!(names(&cloud, "name=b:c").await, ["b:c"]);
    for (query, words) in [
        ("sort=name:asc&sort_key=size", "Old and new sorting syntax cannot be combined"),
        ("sort_dir=up", "Invalid sort direction: up"),
        ("sort_key=name&sort_dir=asc&sort_dir=desc", "Number of sort dirs does not match the number of sort keys"),
        ("changes-since=2026-01-01", "filter is no longer available on v2."),
        ("marker=nope", "No image found with ID nope"),
    ] {
        says(&cloud.get(ALICE, &format!("/v2/images?{query}")).await, 400, words);
    }
}

#[tokio::test]
async fn namespaces_are_answered_as_they_were_said() {
    let cloud = cloud().await;
    let said = json!({"namespace": "N", "tags": [{"name": "t"}], "properties": {"p": {"title": "P", "type": "string"}}, "objects": [{"name": "o"}]});
    let made = cloud.send(ADMIN, "POST", "/v2/metadefs/namespaces", &said).await;
    let body = made.json();
    let shown = ["tags", "properties", "objects"].map(|key| body[key].clone());
    assert_eq!((made.status.as_u16(), shown), (201, ["tags", "properties", "objects"].map(|key| said[key].clone())));
    let more = cloud.send(ADMIN, "POST", "/v2/metadefs/namespaces", &json!({"namespace": "M", "colour": "blue"})).await;
    says(&more, 400, "Additional properties are not allowed ('colour' was unexpected)");
    assert_eq!(cloud.get(ADMIN, "/v2/metadefs/namespaces?marker=nope").await.status, 404);
}

#[tokio::test]
async fn refusals_are_in_glances_words() {
    let cloud = cloud().await;
    let id = cloud.raw_image(ALICE, "x").await;
    let own = format!("/v2/images/{id}");
    let send = async |who: &str, method: &str, path: &str, body: Value| cloud.send(who, method, &format!("{own}{path}"), &body).await;
    says(&cloud.send(READER, "POST", "/v2/images", &json!({})).await, 403, "You are not authorized to complete add_image action.");
    says(&cloud.send(ALICE, "POST", "/v2/images", &json!({"min_disk": -1})).await, 400, "Invalid value '-1' for parameter 'min_disk'");
    let torn = cloud.ask(ALICE, "POST", "/v2/images", &[("content-type", "application/json")], Body::from("{")).await;
    says(&torn, 400, "Malformed JSON in request body.");
    let media = cloud.ask(ALICE, "PUT", &format!("{own}/file"), &[("content-type", "text/plain")], Body::from("x")).await;
    says(&media, 415, "The request media type text/plain is not supported by this server.");
    // members
    says(&send(ALICE, "POST", "/members", json!({})).await, 400, "Member to be added not specified");
    says(&send(ALICE, "POST", "/members", json!({"member": ""})).await, 400, "Member can't be empty");
    assert_eq!(send(ALICE, "POST", "/members", json!({"member": "bob"})).await.status, 200);
    says(&send(BOB, "PUT", "/members/bob", json!({})).await, 400, "Status not specified");
    says(&send(BOB, "PUT", "/members/bob", json!({"status": 5})).await, 400, "Status must be \"pending\", \"accepted\" or \"rejected\".");
    says(&send(ALICE, "PUT", "/members/bob", json!({"status": "accepted"})).await, 403, "complete modify_member action.");
    assert_eq!(send(ALICE, "POST", "/members", json!({"member": "carol"})).await.status, 200);
    // the invited know nothing of each other
    says(&send(BOB, "PUT", "/members/carol", json!({"status": "accepted"})).await, 404, "carol not found in the member list of the image");
    // import
    let import = async |body: Value| send(ALICE, "POST", "/import", body).await;
    says(&import(json!({})).await, 400, "Import request requires a 'method' field.");
    says(&import(json!({"method": {}})).await, 400, "Import request requires a 'name' field.");
    says(&import(json!({"method": {"name": "web-download"}})).await, 400, "URI for web-download does not pass filtering: None");
    says(&import(json!({"method": {"name": "web-download"}, "all_stores": "x"})).await, 400, "'all_stores' must be boolean value only");
    assert_eq!(cloud.ask(ALICE, "PUT", &format!("{own}/stage"), &BYTES, Body::from("x")).await.status, 204);
    says(
        &import(json!({"method": {"name": "web-download", "uri": "http://x/"}})).await,
        409,
        "needs to be in 'queued' state to use 'web-download'",
    );
    assert_eq!(import(json!({"method": {"name": "glance-direct"}})).await.status, 202);
    cloud.until(&id, "active").await;
    says(&import(json!({"method": {"name": "glance-direct"}})).await, 409, "Image with status active cannot be target for import");
    let copy = cloud.send(ADMIN, "POST", &format!("{own}/import"), &json!({"method": {"name": "copy-image"}, "stores": ["file"]})).await;
    says(&copy, 400, "Image is already present at store 'file'");
    let bare = cloud.create(ALICE, json!({"container_format": "bare"})).await;
    let early = json!({"method": {"name": "web-download", "uri": "http://x/"}});
    let early = cloud.send(ALICE, "POST", &format!("/v2/images/{bare}/import"), &early).await;
    says(&early, 409, "'disk_format' needs to be set before import");
    // tasks
    let tasks = cloud.get(ALICE, &format!("{own}/tasks")).await.json()["tasks"][0].clone();
    let more = ["deleted", "deleted_at", "owner", "user_id", "request_id", "image_id"].map(|key| tasks.get(key).is_some());
    assert_eq!((more, &tasks["deleted"], &tasks["owner"]), ([true; 6], &json!(false), &json!("alice")));
    for (query, words) in [("status=x", "Invalid status value: x"), ("type=x", "Invalid type value: x")] {
        says(&cloud.get(ADMIN, &format!("/v2/tasks?{query}")).await, 400, words);
    }
    says(&cloud.send(ADMIN, "POST", "/v2/tasks", &json!({"type": "import"})).await, 400, "Task 'input' is required");
}

#[tokio::test]
async fn head_is_a_method_it_does_not_have() {
    let cloud = cloud().await;
    let id = cloud.raw_image(ALICE, "x").await;
    for (path, status) in [("/v2/images", 405), (&format!("/v2/images/{id}"), 405), ("/v2/nothing", 404)] {
        let answer = cloud.ask(ALICE, "HEAD", path, &[], Body::empty()).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (status, 0), "{path}");
    }
    let allowed = cloud.ask(ALICE, "HEAD", "/v2/images", &[], Body::empty()).await.headers["allow"].clone();
    assert_eq!(allowed, "GET, POST");
}
