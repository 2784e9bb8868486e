//! Every operation of the block storage API is answered by something that knows it. `operations.txt` has them, one a line: method, path, for
//! actions their name, and the version from which it is there.

use http::Method;
use serde_json::json;

use crate::support::world;

/// An id of nothing.
const NOWHERE: &str = "00000000-0000-4000-8000-000000000000";
const LATEST: &str = "3.71";

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_answered() {
    let world = world().await;
    let volume = world.volume(json!({"size": 1})).await;
    let snapshot = world.snapshot(&volume, json!({})).await;
    let mut unanswered = Vec::new();
    for line in include_str!("../operations.txt").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (method, path) = (Method::from_bytes(words[0].as_bytes()).unwrap(), words[1]);
        let since = words[2..].iter().find(|word| word.starts_with("3.")).copied();
        let body = match words[2..].iter().find(|word| !word.starts_with("3.")) {
            Some(action) => Some(json!({*action: null})),
            None if matches!(method, Method::POST | Method::PUT) => Some(json!({})),
            None => None,
        };
        // of what has actions, one that is there: they are looked up on it
        let id = match path.split('/').nth(1) {
            Some("volumes") => &volume,
            Some("snapshots") => &snapshot,
            _ => NOWHERE,
        };
        let path = if path.starts_with("/v3") || path == "/" { path.to_owned() } else { format!("/v3{}", path.replacen("{id}", id, 1)) };
        let path = path.replace("{id}", NOWHERE);
        let version = if path == "/" { "" } else { LATEST };
        let (status, answer, _) = world.send("admin", method.clone(), &path, version, body.clone()).await;
        let text = answer.to_string();
        // what the router says, and what is said of actions that are in no table
        let unknown = text.contains("The resource could not be found.") || text.contains("There is no such action");
        if unknown || status == 405 || status >= 500 {
            unanswered.push(format!("{line}: {status} {text}"));
        }
        if let Some(before) = since.and_then(|since| since.strip_prefix("3.")?.parse::<u32>().ok()) {
            let (status, answer, _) = world.send("admin", method, &path, &format!("3.{}", before - 1), body).await;
            let text = answer.to_string();
            let unknown = text.contains("The resource could not be found.") || text.contains("There is no such action");
            if !unknown {
                unanswered.push(format!("{line}: is there before its version: {status} {text}"));
            }
        }
    }
    assert!(unanswered.is_empty(), "{}", unanswered.join("\n"));
}
