//! Every operation of the compute API is answered by something that knows it. `operations.txt` has them, one a line: method, path, for actions
//! their name, and the version to ask at where it is not the first.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADMIN, Cloud, NOWHERE};

#[tokio::test]
async fn every_operation_is_answered() {
    let cloud = Cloud::start(&[]).await;
    let mut unanswered = Vec::new();
    for line in include_str!("operations.txt").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (method, path) = (words[0], words[1]);
        let version = words[2..].iter().find(|word| word.starts_with("2.")).copied().unwrap_or_default();
        let body = match words[2..].iter().find(|word| !word.starts_with("2.")) {
            Some(action) => json!({*action: null}),
            None if matches!(method, "POST" | "PUT") => json!({}),
            None => Value::Null,
        };
        let name = |part: &'static str| match part {
            // of one that is not there it is said as of a path that is none
            "{alias}" => "servers",
            _ if part.starts_with('{') => NOWHERE,
            _ => part,
        };
        let named: Vec<&str> = path.split('/').map(name).collect();
        let path = if path == "/" { "/".to_owned() } else { format!("/v2.1{}", named.join("/")) };
        let answer = cloud.ask(ADMIN, version, method, &path, body).await;
        // what the router says, also of resources that are in no table, and what is said of actions that are in none
        let unknown = answer.message() == "The resource could not be found." || answer.message().starts_with("There is no such action");
        if unknown || answer.status == 405 || answer.status.is_server_error() && answer.status != 501 {
            unanswered.push(format!("{line}: {} {}", answer.status, answer.body));
        }
    }
    assert!(unanswered.is_empty(), "{}", unanswered.join("\n"));
}
