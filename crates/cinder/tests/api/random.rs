//! No query and no body makes an operation fail: each is asked with words that the API knows, in places where it may not expect them. The
//! same in every run; `CUMULO_FUZZ_ROUNDS` makes it longer.

use http::Method;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use crate::coverage::{LATEST, NOWHERE, Operation, operations};
use crate::support::{World, world};

/// What bodies and queries are made of.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "id", "name", "display_name", "description", "status", "attach_status", "migration_status", "available", "in-use", "error", "size",
    "new_size", "volume", "volume_id", "snapshot", "snapshot_id", "source_volid", "backup", "backup_id", "imageRef", "image_name",
    "disk_format", "container_format", "qcow2", "volume_type", "new_type", "migration_policy", "on-demand", "metadata", "key", "extra_specs",
    "availability_zone", "nova", "host", "cluster", "sim1@sim", "sim1@sim#sim", "force", "force_host_copy", "lock_volume", "readonly",
    "bootable", "multiattach", "connector", "ip", "initiator", "instance_uuid", "mountpoint", "/dev/vdb", "mode", "rw", "attachment",
    "attachment_id", "scheduler_hints", "OS-SCH-HNT:scheduler_hints", "same_host", "different_host", "query", "group", "group_type",
    "group_snapshot", "volume_types", "add_volumes", "remove_volumes", "consistencygroup", "cgsnapshot", "auth_key", "transfer", "incremental",
    "container", "backup_record", "backup_url", "backup_service", "restore", "quota_set", "gigabytes", "volumes", "encryption", "provider",
    "luks", "cipher", "key_size", "control_location", "front-end", "qos_specs", "keys", "consumer", "both", "binary", "cinder-volume",
    "disabled_reason", "server", "prefix", "level", "INFO", "ref", "source-name", "is_public", "project", "project_id", "p1", "delete-volumes",
    "new_volume", "delete_volumes", "create_from_src", "True", "none", "-1", "0", "1", "1e400", "9223372036854775808", "", "\u{0}", "ü", "%",
    "../x", "a,b", "[]", "{}", "{'a': 'b'}", "null", "2022-01-01T00:00:00", "gt:2022-01-01",
];

#[rustfmt::skip]
const QUERIES: &[&str] = &[
    "limit", "offset", "marker", "sort", "sort_key", "sort_dir", "all_tenants", "with_count", "name", "name~", "status", "host", "metadata",
    "glance_metadata", "group_id", "consumes_quota", "created_at", "updated_at", "bootable", "project_id", "user_id", "id", "volume_id",
    "snapshot_id", "resource_uuid", "message_level", "is_public", "extra_specs", "cascade", "force", "detail", "usage", "default", "reserved",
    "binary", "resource", "list_volume", "list_snapshot", "volume_type", "availability_zone", "use_quota", "request_id", "instance_id",
];

const VERSIONS: &[&str] = &["", "3.0", "3.13", "3.34", "3.60", LATEST];

struct Random(StdRng);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(..n)
    }

    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.below(among.len())]
    }

    /// Some JSON; `ids` are those of things that are there.
    fn value(&mut self, depth: usize, ids: &[String]) -> Value {
        match self.below(if depth == 0 { 7 } else { 10 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.below(8) as i64 - 2),
            3 => [json!(i64::MAX), json!(u64::MAX), json!(0.5), json!(-1e300)][self.below(4)].clone(),
            4 => json!("x".repeat(self.below(300))),
            5 => json!(ids[self.below(ids.len())]),
            6 => json!(self.pick(WORDS)),
            7 => (0..self.below(4)).map(|_| self.value(depth - 1, ids)).collect(),
            _ => self.object(depth, ids),
        }
    }

    fn object(&mut self, depth: usize, ids: &[String]) -> Value {
        let pairs: Map<String, Value> = (0..self.below(6)).map(|_| (self.pick(WORDS).to_owned(), self.value(depth - 1, ids))).collect();
        Value::Object(pairs)
    }

    fn query(&mut self, ids: &[String]) -> String {
        let pair = |random: &mut Random| {
            let value = match random.below(3) {
                0 => ids[random.below(ids.len())].clone(),
                _ => random.pick(WORDS).to_owned(),
            };
            let value: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            format!("{}={value}", random.pick(QUERIES))
        };
        let pairs: Vec<String> = (0..=self.below(3)).map(|_| pair(self)).collect();
        pairs.join("&")
    }

    /// A body for an operation: mostly one that looks like its own.
    fn body(&mut self, operation: &Operation, ids: &[String]) -> Value {
        let inner = if self.below(4) == 0 { self.value(3, ids) } else { self.object(3, ids) };
        let action = operation.body.as_ref().and_then(Value::as_object).and_then(|body| body.keys().next().cloned());
        let own = action.or_else(|| {
            let collection = operation.path.split('/').nth(2)?.replace("os-volume-", "").replace("volume-transfers", "transfer");
            let single = match collection.as_str() {
                "types" => "volume_type",
                "qos-specs" => "qos_specs",
                "os-quota-sets" => "quota_set",
                "os-quota-class-sets" => "quota_class_set",
                "manageable_volumes" | "manage" => "volume",
                "manageable_snapshots" | "os-snapshot-manage" => "snapshot",
                "default-types" => "default_type",
                other => other.trim_end_matches('s'),
            };
            let last = operation.path.rsplit('/').next()?;
            Some(if last.contains(['-', '_']) || last == single || last.len() < 4 {
                single.to_owned()
            } else {
                self.pick(&[single, last]).to_owned()
            })
        });
        match (own, self.below(5)) {
            (Some(own), 1..) => json!({own: inner}),
            _ => inner,
        }
    }
}

fn rounds() -> usize {
    std::env::var("CUMULO_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20)
}

/// A thing of each family that others are made with; their ids by the family's path.
async fn things(world: &World) -> Vec<(&'static str, String)> {
    let mut made = Vec::new();
    for (path, key, body) in [
        ("types", "volume_type", json!({"name": "t"})),
        ("group_types", "group_type", json!({"name": "g"})),
        ("qos-specs", "qos_specs", json!({"name": "q"})),
    ] {
        let (status, body, _) = world.send("admin", Method::POST, &format!("/v3/{path}"), LATEST, Some(json!({key: body}))).await;
        assert!(status < 300, "{body}");
        made.push((path, body[key]["id"].as_str().unwrap().to_owned()));
    }
    made
}

/// An operation on what is there, where something is.
fn on(operation: &Operation, things: &[(&'static str, String)]) -> String {
    let family = operation.path.split('/').nth(2).unwrap_or_default();
    match things.iter().find(|(path, _)| *path == family) {
        Some((_, id)) => operation.path.replacen(NOWHERE, id, 1),
        None => operation.path.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_makes_an_operation_fail() {
    let world = world().await;
    let mut random = Random(StdRng::seed_from_u64(2));
    let volume = world.volume(json!({"size": 1, "metadata": {"a": "b"}})).await;
    let snapshot = world.snapshot(&volume, json!({})).await;
    let things = things(&world).await;
    let ids = [volume.clone(), snapshot.clone(), NOWHERE.to_owned()];
    for operation in operations(&volume, &snapshot).into_iter().filter(|operation| operation.method == Method::GET) {
        for _ in 0..rounds() {
            let path = format!("{}?{}", on(&operation, &things), random.query(&ids));
            let version = if operation.path == "/" { "" } else { random.pick(VERSIONS) };
            let who = random.pick(&["admin", "member"]);
            let (status, answer, _) = world.send(who, Method::GET, &path, version, None).await;
            assert!(status < 500, "{path} at {version:?} as {who}: {status} {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_makes_an_operation_fail() {
    let world = world().await;
    let mut random = Random(StdRng::seed_from_u64(3));
    let free = json!({"quota_set": {"volumes": -1, "snapshots": -1, "gigabytes": -1}});
    assert_eq!(world.ask("admin", Method::PUT, "/v3/os-quota-sets/p1", Some(free.clone())).await.0, 200);
    let things = things(&world).await;
    let count = operations(NOWHERE, NOWHERE).len();
    for index in 0..count {
        if !matches!(operations(NOWHERE, NOWHERE)[index].method, Method::POST | Method::PUT) {
            continue;
        }
        // what was done to others is nothing to these
        assert_eq!(world.ask("admin", Method::PUT, "/v3/os-quota-sets/p1", Some(free.clone())).await.0, 200);
        let (volume, snapshot) = fresh(&world).await;
        let ids = [volume.clone(), snapshot.clone(), NOWHERE.to_owned()];
        let operation = operations(&volume, &snapshot).swap_remove(index);
        for _ in 0..rounds() {
            let (path, body) = (on(&operation, &things), random.body(&operation, &ids));
            let version = random.pick(VERSIONS);
            let (status, answer, _) = world.send("admin", operation.method.clone(), &path, version, Some(body.clone())).await;
            assert!(status < 500, "{} {path} at {version:?} {body}: {status} {answer}", operation.method);
        }
    }
}

/// A volume and its snapshot, whatever became of the host: a request may have put it out of service.
async fn fresh(world: &World) -> (String, String) {
    for action in ["enable", "thaw"] {
        let host = json!({"binary": "cinder-volume", "host": "sim1@sim"});
        world.ask("admin", Method::PUT, &format!("/v3/os-services/{action}"), Some(host)).await;
    }
    let volume = world.volume(json!({"size": 1})).await;
    let snapshot = world.snapshot(&volume, json!({})).await;
    (volume, snapshot)
}
