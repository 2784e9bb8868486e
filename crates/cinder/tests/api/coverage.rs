//! Every operation of the block storage API is answered by something that knows it, from its version on, and lets in whom it should.
//! `operations.txt` has them, one a line: method, who may (`*`, a project's `R`eader or `M`ember, an `A`dministrator), path, for actions their
//! name, and the version from which it is there.

use http::Method;
use serde_json::{Value, json};

use crate::support::{World, world};

/// An id of nothing.
pub const NOWHERE: &str = "00000000-0000-4000-8000-000000000000";
pub const LATEST: &str = "3.71";

/// Whether a status is as it should be.
type Holds = fn(u16) -> bool;

pub struct Operation {
    line: &'static str,
    pub method: Method,
    who: &'static str,
    pub path: String,
    since: Option<u32>,
    pub body: Option<Value>,
}

/// All of them, on a volume and a snapshot that are there: actions are looked up on what they act on.
pub fn operations(volume: &str, snapshot: &str) -> Vec<Operation> {
    let read = |line: &'static str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (method, path, rest) = (Method::from_bytes(words[0].as_bytes()).unwrap(), words[2], &words[3..]);
        let id = match path.split('/').nth(1) {
            Some("volumes") => volume,
            Some("snapshots") => snapshot,
            // one's own
            Some("os-quota-sets") if method == Method::GET => "p1",
            _ => NOWHERE,
        };
        let body = match rest.iter().find(|word| !word.starts_with("3.")) {
            Some(action) => Some(json!({*action: null})),
            None if matches!(method, Method::POST | Method::PUT) => Some(json!({})),
            None => None,
        };
        let prefix = if path.starts_with("/v3") || path == "/" { "" } else { "/v3" };
        Operation {
            line,
            who: words[1],
            path: format!("{prefix}{}", path.replacen("{id}", id, 1).replace("{id}", NOWHERE)),
            since: rest.iter().find_map(|word| word.strip_prefix("3.")?.parse().ok()),
            method,
            body,
        }
    };
    include_str!("../operations.txt").lines().map(read).collect()
}

impl Operation {
    async fn ask(&self, world: &World, who: &str, version: &str) -> (u16, String) {
        let version = if self.path == "/" { "" } else { version };
        let (status, answer, _) = world.send(who, self.method.clone(), &self.path, version, self.body.clone()).await;
        (status, answer.to_string())
    }
}

/// What the router says, and what is said of actions that are in no table.
fn unknown(text: &str) -> bool {
    text.contains("The resource could not be found.") || text.contains("There is no such action")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_answered_from_its_version_on() {
    let world = world().await;
    let volume = world.volume(json!({"size": 1})).await;
    let snapshot = world.snapshot(&volume, json!({})).await;
    let mut wrong = Vec::new();
    for operation in operations(&volume, &snapshot) {
        if let Some(since) = operation.since {
            let (status, text) = operation.ask(&world, "admin", &format!("3.{}", since - 1)).await;
            if !unknown(&text) {
                wrong.push(format!("{}: is there before its version: {status} {text}", operation.line));
            }
        }
        let (status, text) = operation.ask(&world, "admin", LATEST).await;
        if unknown(&text) || status == 405 || status >= 500 {
            wrong.push(format!("{}: {status} {text}", operation.line));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_what_is_as_the_list_says() {
    let world = world().await;
    let (_, body) =
        world.ask("admin", Method::PUT, "/v3/os-quota-sets/p1", Some(json!({"quota_set": {"volumes": -1, "snapshots": -1}}))).await;
    assert!(body["quota_set"].is_object(), "{body}");
    let mut wrong = Vec::new();
    let count = operations(NOWHERE, NOWHERE).len();
    for index in 0..count {
        // what one operation did to a volume is nothing to the next
        let volume = world.volume(json!({"size": 1})).await;
        let snapshot = world.snapshot(&volume, json!({})).await;
        let operation = operations(&volume, &snapshot).swap_remove(index);
        let mut expect = |who: &str, (status, text): (u16, String), holds: bool| {
            if !holds || status >= 500 {
                wrong.push(format!("{} as {who}: {status} {text}", operation.line));
            }
        };
        let nobody = operation.ask(&world, "", LATEST).await;
        let wanted = if operation.path == "/" { 300 } else { 401 };
        let (was, own) = (nobody.0, [&volume, &snapshot].iter().any(|id| operation.path.contains(id.as_str())));
        expect("nobody", nobody, was == wanted);
        // another project's things are not there; what is no request is none, whoever sends it
        let other = operation.ask(&world, "other", LATEST).await;
        let hidden = !own || matches!(other.0, 400 | 403 | 404);
        expect("other", other, hidden);
        let lets_in = |status: u16| !matches!(status, 401 | 403);
        let (reader, member): (Holds, Holds) = match operation.who {
            "*" | "R" => (|status| !matches!(status, 401 | 403), |status| !matches!(status, 401 | 403)),
            "M" => (|status| matches!(status, 400 | 403 | 404), |status| !matches!(status, 401 | 403)),
            _ => (|status| matches!(status, 403 | 404), |status| matches!(status, 403 | 404)),
        };
        let answer = operation.ask(&world, "reader", LATEST).await;
        let holds = reader(answer.0);
        expect("reader", answer, holds);
        // a project's manager may what its members may
        for who in ["member", "manager"] {
            let answer = operation.ask(&world, who, LATEST).await;
            let holds = member(answer.0);
            expect(who, answer, holds);
        }
        let answer = operation.ask(&world, "admin", LATEST).await;
        let holds = lets_in(answer.0);
        expect("admin", answer, holds);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
