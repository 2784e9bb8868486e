//! Every operation of the image API is answered by something that knows it, and no body makes one fail. `operations.txt` has them, one a
//! line: method, who may, and path. Who may is `*`, a project's `R`eader or `M`ember, a `S`ervice, an `A`dministrator.

use axum::body::Body;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::common::{ADMIN, ALICE, Cloud, cloud};

/// An id of nothing.
const NOWHERE: &str = "00000000-0000-4000-8000-000000000000";

/// Method, who may, path.
fn operations() -> Vec<(&'static str, &'static str, &'static str)> {
    let words = include_str!("../operations.txt").lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.map(|words| (words[0], words[1], words[2])).collect()
}

fn media_type(method: &str, path: &str) -> &'static str {
    match (method, path.rsplit('/').next()) {
        ("PATCH", _) => "application/openstack-images-v2.1-json-patch",
        (_, Some("file" | "stage")) => "application/octet-stream",
        _ => "application/json",
    }
}

async fn send(cloud: &Cloud, who: &str, method: &str, path: &str, body: Vec<u8>) -> (u16, String) {
    let media = [("content-type", media_type(method, path)), ("accept", "application/json")];
    let path = if matches!(path, "/" | "/versions") { path.to_owned() } else { format!("/v2{path}") };
    let answer = cloud.ask(who, method, &path, &media, Body::from(body)).await;
    (answer.status.as_u16(), String::from_utf8_lossy(&answer.bytes).into_owned())
}

#[tokio::test]
async fn every_operation_is_answered() {
    let cloud = cloud().await;
    let mut unanswered = Vec::new();
    for (method, _, path) in operations() {
        let (status, text) = send(&cloud, ADMIN, method, &path.replace("{id}", NOWHERE), b"{}".to_vec()).await;
        // what the router says
        let unknown = text.contains("The resource could not be found.");
        if unknown || status == 405 || status >= 500 {
            unanswered.push(format!("{method} {path}: {status} {text}"));
        }
    }
    assert!(unanswered.is_empty(), "{}", unanswered.join("\n"));
}

#[tokio::test]
async fn who_may_what_is_as_the_list_says() {
    let cloud = cloud().await;
    let mut wrong = Vec::new();
    for (method, who, path) in operations() {
        let path = path.replace("{id}", NOWHERE);
        let mut ask = async |token: &str, holds: fn(u16) -> bool| {
            let (status, text) = send(&cloud, token, method, &path, b"{}".to_vec()).await;
            if !holds(status) || status >= 500 {
                wrong.push(format!("{method} {who} {path} as {token:?}: {status} {text}"));
            }
        };
        let discovery = matches!(path.as_str(), "/" | "/versions");
        ask("", if discovery { |status| status < 400 } else { |status| status == 401 }).await;
        let lets_in = |status| !matches!(status, 401 | 403);
        match who {
            "*" | "R" => {
                ask("alice:reader", lets_in).await;
                ask(ALICE, lets_in).await;
            }
            "M" => ask(ALICE, lets_in).await,
            // of what is not there, nobody is told whether it would be theirs
            _ => ask(ALICE, |status| matches!(status, 403 | 404)).await,
        }
        if who == "S" {
            ask("service:service,reader", lets_in).await;
        }
        ask(ADMIN, lets_in).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same bodies in every run.
struct Random(StdRng);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(..n)
    }

    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.below(among.len())]
    }

    /// Some JSON, of words that the API knows in places where it may not expect them.
    fn value(&mut self, depth: usize) -> Value {
        const WORDS: &[&str] = &[
            "name",
            "id",
            "status",
            "visibility",
            "public",
            "disk_format",
            "raw",
            "container_format",
            "bare",
            "tags",
            "locations",
            "url",
            "file:///etc/passwd",
            "method",
            "glance-direct",
            "web-download",
            "uri",
            "http://127.0.0.1/",
            "stores",
            "all_stores",
            "type",
            "import",
            "input",
            "member",
            "accepted",
            "namespace",
            "display_name",
            "properties",
            "prefix",
            "op",
            "add",
            "replace",
            "remove",
            "path",
            "/name",
            "/locations/0",
            "/tags/x",
            "/",
            "",
            "\u{0}",
            "ü",
            "validation_data",
            "os_hash_algo",
            "os_hash_value",
            "required",
        ];
        match self.below(if depth == 0 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.below(1 << 20) as i64 - (1 << 19)),
            3 => json!(i64::MAX),
            4 => json!("x".repeat(self.below(300))),
            5 => json!(self.pick(WORDS)),
            6 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => Value::Object((0..self.below(5)).map(|_| (self.pick(WORDS).to_owned(), self.value(depth - 1))).collect()),
        }
    }

    fn body(&mut self) -> Vec<u8> {
        let mut body = self.value(3).to_string().into_bytes();
        match self.below(8) {
            0 => body.truncate(self.below(body.len() + 1)),
            1 if !body.is_empty() => {
                let at = self.below(body.len());
                body[at] = self.below(256) as u8;
            }
            _ => {}
        }
        body
    }
}

#[tokio::test]
async fn no_body_makes_an_operation_fail() {
    let rounds: usize = std::env::var("CUMULO_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    let cloud = cloud().await;
    let mut random = Random(StdRng::seed_from_u64(1));
    for (method, _, path) in operations().into_iter().filter(|(method, ..)| matches!(*method, "POST" | "PUT" | "PATCH")) {
        for _ in 0..rounds {
            let id = cloud.raw_image(ALICE, "i").await;
            let body = random.body();
            let (status, text) = send(&cloud, ADMIN, method, &path.replace("{id}", &id), body.clone()).await;
            assert!(status < 500, "{method} {path} {}: {status} {text}", String::from_utf8_lossy(&body));
        }
    }
}
