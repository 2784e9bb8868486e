//! Placement's API in process, with a made-up administrator.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod many;
mod words;

use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use kit::auth::Authenticator;
use kit::context::{Identity, Named};
use kit::db::Location;
use kit::ids;
use kit::service::Service;
use placement::Placement;
use serde_json::{Value, json};

const ADMIN: &str = "admin:admin";

struct Cloud {
    _dir: tempfile::TempDir,
    location: Location,
    service: Service,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["errors"][0]["code"].as_str().unwrap_or_default()
    }
}

async fn cloud() -> Cloud {
    let dir = tempfile::tempdir().unwrap();
    let location = match std::env::var("CUMULO_TEST_DATABASE") {
        Ok(url) => Location::Postgres { url, schema: format!("placement_{}", ids::hex()) },
        Err(_) => Location::Sqlite(dir.path().join("placement.sqlite")),
    };
    let placement = placement::open(&location).await.unwrap();
    let who = |_: Placement, token: String| -> futures::future::BoxFuture<'static, kit::Result<Identity>> {
        Box::pin(async move {
            let (project, role) = token.split_once(':').ok_or_else(kit::Error::unauthorized)?;
            Ok(Identity {
                project: Some(Named { id: project.into(), name: project.into(), domain_id: "default".into() }),
                roles: vec![role.into()],
                expires_at: i64::MAX,
                ..Identity::default()
            })
        })
    };
    let service = placement.service(Authenticator::own(who, "http://keystone:5000")).unwrap();
    Cloud { _dir: dir, location, service }
}

impl Cloud {
    async fn ask_as(&self, who: &str, version: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("x-auth-token", who);
        if !version.is_empty() {
            request = request.header("openstack-api-version", format!("placement {version}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let (parts, body) = self.service.call(request.body(body).unwrap()).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    async fn ask(&self, version: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask_as(ADMIN, version, method, path, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("1.39", "GET", path, None).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask("1.39", "PUT", path, Some(body)).await
    }

    /// A provider with so much of everything.
    async fn provider(&self, name: &str, parent: Option<&str>, stock: &[(&str, i64)]) -> String {
        let uuid = ids::uuid();
        let body = json!({"name": name, "uuid": uuid, "parent_provider_uuid": parent});
        assert_eq!(self.ask("1.39", "POST", "/resource_providers", Some(body)).await.status, 200);
        let stock: Value =
            stock.iter().map(|(class, total)| ((*class).to_owned(), json!({"total": total}))).collect::<serde_json::Map<_, _>>().into();
        let body = json!({"inventories": stock, "resource_provider_generation": 0});
        assert_eq!(self.put(&format!("/resource_providers/{uuid}/inventories"), body).await.status, 200);
        uuid
    }

    async fn claim(&self, consumer: &str, provider: &str, vcpus: i64, generation: Option<i64>) -> Answer {
        self.put(&format!("/allocations/{consumer}"), claim(provider, vcpus, generation)).await
    }

    async fn used(&self, provider: &str) -> Value {
        self.get(&format!("/resource_providers/{provider}/usages")).await.body["usages"].clone()
    }
}

fn claim(provider: &str, vcpus: i64, generation: Option<i64>) -> Value {
    json!({"allocations": {provider: {"resources": {"VCPU": vcpus}}}, "project_id": "p", "user_id": "u",
        "consumer_generation": generation, "consumer_type": "INSTANCE"})
}

#[tokio::test]
async fn versions_errors_and_roles() {
    let cloud = cloud().await;
    assert_eq!(cloud.ask_as("", "", "GET", "/", None).await.body["versions"][0]["max_version"], "1.39");
    assert_eq!(cloud.ask_as("", "", "GET", "/traits", None).await.status, 401);
    assert_eq!(cloud.ask_as("p:member", "", "GET", "/resource_providers", None).await.status, 403);
    let beyond = cloud.ask("1.40", "GET", "/resource_providers", None).await;
    assert_eq!((beyond.status.as_u16(), beyond.body["errors"][0]["max_version"].as_str()), (406, Some("1.39")));
    assert_eq!(cloud.ask("1.5", "GET", "/traits", None).await.status, 404);
    let method = cloud.ask("1.39", "PATCH", "/traits", None).await;
    assert_eq!((method.status.as_u16(), method.headers["allow"].to_str().unwrap()), (405, "GET"));
    let missing = cloud.get("/resource_providers/x").await;
    assert_eq!((missing.status.as_u16(), missing.code()), (404, "placement.undefined_code"));
    assert_eq!(missing.body["errors"][0]["detail"], "The resource could not be found.\n\n No resource provider with uuid x found  ");
    assert!(cloud.get("/traits").await.headers.contains_key("last-modified"));
    assert!(!cloud.ask("1.14", "GET", "/traits", None).await.headers.contains_key("last-modified"));
    assert_eq!(cloud.get("/resource_providers?color=red").await.status, 400);
    assert_eq!(cloud.ask("", "GET", "/placement/resource_providers", None).await.status, 200);
}

/// `authorization.txt` is the API's reference: who may (`S` services and administrators, `R` the project's readers too), method, path, version.
#[tokio::test]
async fn everybody_may_what_the_reference_says() {
    let cloud = cloud().await;
    for line in include_str!("../authorization.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (method, version) = (words[1], words.get(3).copied().unwrap_or_default());
        let query = if words[2] == "/usages" { "?project_id=p" } else { "" };
        let path = words[2].replace("{uuid}", "x").replace("{consumer_uuid}", "x").replace("{name}", "X").replace("{resource_class}", "X");
        let body = matches!(method, "POST" | "PUT").then(|| json!({}));
        for (who, may) in [
            ("", None),
            ("p:member", Some(false)),
            ("p:manager", Some(false)),
            ("p:reader", Some(words[0] == "R")),
            ("s:service", Some(true)),
            (ADMIN, Some(true)),
        ] {
            let answer = cloud.ask_as(who, version, method, &format!("{path}{query}"), body.clone()).await;
            let right = match (may, answer.status.as_u16()) {
                (None, status) => status == 401,
                (Some(false), status) => status == 403,
                (Some(true), status) => !matches!(status, 401 | 403 | 405) && status < 500,
            };
            assert!(right, "{line} for {who:?}: {} {}", answer.status, answer.body);
        }
    }
}

#[tokio::test]
async fn providers_are_made_found_moved_and_deleted() {
    let cloud = cloud().await;
    let host = cloud.provider("host", None, &[("VCPU", 4)]).await;
    let numa = cloud.provider("numa", Some(&host), &[("VCPU", 2)]).await;
    let old = cloud.ask("1.0", "POST", "/resource_providers", Some(json!({"name": "old"}))).await;
    assert_eq!((old.status.as_u16(), &old.body), (201, &Value::Null));
    assert!(old.headers["location"].to_str().unwrap().contains("/resource_providers/"));
    let twice = cloud.ask("1.39", "POST", "/resource_providers", Some(json!({"name": "old"}))).await;
    assert_eq!((twice.status.as_u16(), twice.code()), (409, "placement.duplicate_name"));
    let found =
        async |query: &str| cloud.get(&format!("/resource_providers?{query}")).await.body["resource_providers"].as_array().unwrap().len();
    assert_eq!(found("").await, 3);
    assert_eq!(found("name=numa").await, 1);
    assert_eq!(found(&format!("in_tree={numa}")).await, 2);
    assert_eq!(found("resources=VCPU:3").await, 1);
    let shown = cloud.get(&format!("/resource_providers/{numa}")).await.body;
    assert_eq!((shown["root_provider_uuid"].as_str(), shown["links"].as_array().unwrap().len()), (Some(host.as_str()), 6));
    assert!(cloud.ask("1.0", "GET", &format!("/resource_providers/{numa}"), None).await.body.get("root_provider_uuid").is_none());
    assert_eq!(cloud.ask("1.39", "DELETE", &format!("/resource_providers/{host}"), None).await.status, 409, "it has a child");
    let body = json!({"name": "host", "parent_provider_uuid": numa});
    assert_eq!(cloud.put(&format!("/resource_providers/{host}"), body).await.status, 400, "a loop");
    let body = json!({"name": "free", "parent_provider_uuid": null});
    assert_eq!(cloud.ask("1.36", "PUT", &format!("/resource_providers/{numa}"), Some(body.clone())).await.status, 400);
    let freed = cloud.put(&format!("/resource_providers/{numa}"), body).await;
    assert_eq!((freed.body["name"].as_str(), freed.body["root_provider_uuid"].as_str()), (Some("free"), Some(numa.as_str())));
    assert_eq!(cloud.ask("1.39", "DELETE", &format!("/resource_providers/{host}"), None).await.status, 204);
}

#[tokio::test]
async fn inventories_have_generations() {
    let cloud = cloud().await;
    let host = cloud.provider("host", None, &[("VCPU", 4)]).await;
    let path = format!("/resource_providers/{host}/inventories");
    let set = |classes: Value, generation: i64| json!({"inventories": classes, "resource_provider_generation": generation});
    let stale = cloud.put(&path, set(json!({"VCPU": {"total": 8}}), 0)).await;
    assert_eq!((stale.status.as_u16(), stale.code()), (409, "placement.concurrent_update"));
    assert_eq!(cloud.put(&path, set(json!({"SHOES": {"total": 8}}), 1)).await.status, 400);
    assert_eq!(cloud.put(&path, set(json!({"VCPU": {"total": 0}}), 1)).await.status, 400);
    assert_eq!(cloud.claim(&ids::uuid(), &host, 3, None).await.status, 204);
    // the claim moved the generation on
    let shrunk = cloud.put(&path, set(json!({"VCPU": {"total": 2, "allocation_ratio": 1.0}, "DISK_GB": {"total": 10}}), 2)).await;
    assert_eq!((shrunk.status.as_u16(), shrunk.body["resource_provider_generation"].as_i64()), (200, Some(3)));
    assert_eq!(cloud.used(&host).await, json!({"VCPU": 3, "DISK_GB": 0}));
    let in_use = cloud.put(&path, set(json!({}), 3)).await;
    assert_eq!((in_use.status.as_u16(), in_use.code()), (409, "placement.inventory.inuse"));
    let one = cloud.put(&format!("{path}/VCPU"), json!({"total": 16, "resource_provider_generation": 3})).await;
    assert_eq!((one.status.as_u16(), one.body["total"].as_i64()), (200, Some(16)));
    assert_eq!(cloud.ask("1.39", "DELETE", &format!("{path}/DISK_GB"), None).await.status, 204);
    assert_eq!(cloud.get(&format!("{path}/DISK_GB")).await.status, 404);
    let added = cloud.ask("1.39", "POST", &path, Some(json!({"resource_class": "MEMORY_MB", "total": 512}))).await;
    assert_eq!((added.status.as_u16(), &added.body["total"], &added.body["resource_class"]), (201, &json!(512), &Value::Null));
}

#[tokio::test]
async fn classes_traits_and_aggregates() {
    let cloud = cloud().await;
    let host = cloud.provider("host", None, &[("VCPU", 4)]).await;
    assert_eq!(cloud.ask("1.39", "PUT", "/resource_classes/CUSTOM_GOLD", None).await.status, 201);
    assert_eq!(cloud.ask("1.39", "PUT", "/resource_classes/CUSTOM_GOLD", None).await.status, 204);
    assert_eq!(cloud.ask("1.39", "PUT", "/resource_classes/GOLD", None).await.status, 400);
    assert_eq!(cloud.ask("1.2", "PUT", "/resource_classes/CUSTOM_GOLD", Some(json!({"name": "CUSTOM_IRON"}))).await.status, 200);
    assert_eq!(cloud.get("/resource_classes/CUSTOM_GOLD").await.status, 404);
    assert_eq!(cloud.ask("1.39", "DELETE", "/resource_classes/VCPU", None).await.status, 400);
    assert_eq!(cloud.ask("1.39", "DELETE", "/resource_classes/CUSTOM_IRON", None).await.status, 204);

    assert_eq!(cloud.ask("1.39", "PUT", "/traits/CUSTOM_FAST", None).await.status, 201);
    assert_eq!(cloud.ask("1.39", "PUT", "/traits/CUSTOM_FAST", None).await.status, 204);
    let path = format!("/resource_providers/{host}/traits");
    let set = |traits: Value, generation: i64| json!({"traits": traits, "resource_provider_generation": generation});
    assert_eq!(cloud.put(&path, set(json!(["CUSTOM_UNKNOWN"]), 1)).await.status, 400);
    assert_eq!(cloud.put(&path, set(json!(["CUSTOM_FAST", "COMPUTE_NODE"]), 0)).await.status, 409);
    assert_eq!(cloud.put(&path, set(json!(["CUSTOM_FAST", "COMPUTE_NODE"]), 1)).await.body["resource_provider_generation"], 2);
    assert_eq!(cloud.ask("1.39", "DELETE", "/traits/CUSTOM_FAST", None).await.status, 409);
    assert_eq!(cloud.get("/traits?associated=true").await.body["traits"], json!(["COMPUTE_NODE", "CUSTOM_FAST"]));
    assert_eq!(cloud.get("/traits?name=startswith:CUSTOM_").await.body["traits"], json!(["CUSTOM_FAST"]));

    let agg = ids::uuid();
    let path = format!("/resource_providers/{host}/aggregates");
    assert_eq!(cloud.ask("1.1", "PUT", &path, Some(json!([agg]))).await.body, json!({"aggregates": [agg]}));
    let body = json!({"aggregates": [agg], "resource_provider_generation": 2});
    assert_eq!(cloud.put(&path, body.clone()).await.status, 200);
    assert_eq!(cloud.put(&path, body).await.status, 409);
    for (query, hits) in [
        (format!("member_of={agg}"), 1),
        (format!("member_of=!{agg}"), 0),
        ("required=CUSTOM_FAST".into(), 1),
        ("required=!CUSTOM_FAST".into(), 0),
        ("required=in:CUSTOM_FAST,COMPUTE_NODE".into(), 1),
    ] {
        let found = cloud.get(&format!("/resource_providers?{query}")).await;
        assert_eq!(found.body["resource_providers"].as_array().unwrap().len(), hits, "{query}");
        assert_eq!(
            cloud.candidates(&format!("resources=VCPU:1&{query}")).await["allocation_requests"].as_array().unwrap().len(),
            hits,
            "{query}"
        );
    }
}

#[tokio::test]
async fn claims_change_move_and_end() {
    let cloud = cloud().await;
    let (one, two) = (cloud.provider("one", None, &[("VCPU", 4)]).await, cloud.provider("two", None, &[("VCPU", 4)]).await);
    let (server, migration) = (ids::uuid(), ids::uuid());
    assert_eq!(cloud.get(&format!("/allocations/{server}")).await.body, json!({"allocations": {}}));
    assert_eq!(cloud.claim(&server, &one, 4, None).await.status, 204);
    let again = cloud.claim(&server, &one, 4, None).await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "placement.concurrent_update"));
    let shown = cloud.get(&format!("/allocations/{server}")).await.body;
    assert_eq!((shown["consumer_generation"].as_i64(), shown["consumer_type"].as_str()), (Some(1), Some("INSTANCE")));
    assert_eq!(shown["allocations"][&one]["resources"], json!({"VCPU": 4}));
    let full = cloud.claim(&ids::uuid(), &one, 1, None).await;
    assert_eq!((full.status.as_u16(), full.code()), (409, "placement.undefined_code"));
    assert!(full.body["errors"][0]["detail"].as_str().unwrap().contains("Unable to allocate inventory"));
    assert_eq!(cloud.claim(&ids::uuid(), &ids::uuid(), 1, None).await.status, 400, "no such provider");

    // the full host's share moves to the migration although nothing is left, and the server gets the other host
    let mut moved = claim(&one, 4, None);
    moved["consumer_type"] = json!("MIGRATION");
    let both = json!({&server: claim(&two, 4, Some(1)), &migration: moved});
    assert_eq!(cloud.ask("1.39", "POST", "/allocations", Some(both.clone())).await.status, 204);
    assert_eq!(cloud.ask("1.39", "POST", "/allocations", Some(both)).await.status, 409);
    assert_eq!((cloud.used(&one).await, cloud.used(&two).await), (json!({"VCPU": 4}), json!({"VCPU": 4})));
    let usages = cloud.get("/usages?project_id=p").await.body["usages"].clone();
    assert_eq!(usages, json!({"INSTANCE": {"consumer_count": 1, "VCPU": 4}, "MIGRATION": {"consumer_count": 1, "VCPU": 4}}));
    assert_eq!(cloud.ask("1.9", "GET", "/usages?project_id=p&user_id=u", None).await.body["usages"], json!({"VCPU": 8}));
    assert_eq!(cloud.get("/usages?project_id=p&consumer_type=all").await.body["usages"], json!({"all": {"consumer_count": 2, "VCPU": 8}}));
    assert_eq!(cloud.get("/usages?project_id=p&consumer_type=unknown").await.body["usages"], json!({}));
    assert_eq!(cloud.get("/usages?project_id=p&consumer_type=instance").await.status, 400);
    assert_eq!(cloud.ask_as("p:reader", "1.39", "GET", "/usages?project_id=p", None).await.status, 200);
    assert_eq!(cloud.ask_as("q:reader", "1.39", "GET", "/usages?project_id=p", None).await.status, 403);

    let given = cloud.get(&format!("/resource_providers/{one}/allocations")).await.body;
    assert_eq!(given["allocations"][&migration], json!({"resources": {"VCPU": 4}, "consumer_generation": 1}));
    assert_eq!(cloud.ask("1.39", "DELETE", &format!("/resource_providers/{one}"), None).await.status, 409);
    assert_eq!(cloud.ask("1.39", "DELETE", &format!("/allocations/{migration}"), None).await.status, 204);
    assert_eq!(cloud.ask("1.39", "DELETE", &format!("/allocations/{migration}"), None).await.status, 404);
    let nothing = json!({"allocations": {}, "project_id": "p", "user_id": "u", "consumer_generation": 2, "consumer_type": "INSTANCE"});
    assert_eq!(cloud.put(&format!("/allocations/{server}"), nothing).await.status, 204);
    assert_eq!((cloud.used(&one).await, cloud.used(&two).await), (json!({"VCPU": 0}), json!({"VCPU": 0})));
}

#[tokio::test]
async fn claims_had_other_shapes() {
    let cloud = cloud().await;
    let host = cloud.provider("host", None, &[("VCPU", 8)]).await;
    let list = json!({"allocations": [{"resource_provider": {"uuid": host}, "resources": {"VCPU": 1}}]});
    let mut owned = list.clone();
    owned["project_id"] = json!("p");
    owned["user_id"] = json!("u");
    let object = json!({"allocations": {&host: {"resources": {"VCPU": 2}}}, "project_id": "p", "user_id": "u"});
    let cases = [
        ("1.0", &list, 204),
        ("1.7", &owned, 400),
        ("1.8", &list, 400),
        ("1.8", &owned, 204),
        ("1.12", &owned, 400),
        ("1.12", &object, 204),
        ("1.28", &object, 400),
    ];
    for (version, body, status) in cases {
        let answer = cloud.ask(version, "PUT", &format!("/allocations/{}", ids::uuid()), Some(body.clone())).await;
        assert_eq!(answer.status, status, "{version} {}", answer.body);
    }
    assert_eq!(cloud.used(&host).await, json!({"VCPU": 4}));
    let bare = Request::builder().method("PUT").uri(format!("/allocations/{}", ids::uuid())).header("x-auth-token", ADMIN);
    assert_eq!(cloud.service.call(bare.body(Body::from("{}")).unwrap()).await.status(), 415);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_at_once_never_overcommit() {
    let cloud = cloud().await;
    let host = cloud.provider("host", None, &[("VCPU", 30)]).await;
    let claims = (0..100).map(|_| async { cloud.claim(&ids::uuid(), &host, 1, None).await.status.as_u16() });
    let done = futures::future::join_all(claims).await;
    assert_eq!(done.iter().filter(|status| **status == 204).count(), 30);
    assert_eq!(done.iter().filter(|status| **status == 409).count(), 70);
    assert_eq!(cloud.used(&host).await, json!({"VCPU": 30}));
    assert_eq!(cloud.get(&format!("/resource_providers/{host}/allocations")).await.body["allocations"].as_object().unwrap().len(), 30);
    // of many changes of one consumer at the same generation, one is made
    let consumer = ids::uuid();
    let other = cloud.provider("other", None, &[("VCPU", 1000)]).await;
    let claims = (1..20).map(|n| cloud.claim(&consumer, &other, n, None));
    let done = futures::future::join_all(claims).await;
    assert_eq!(done.iter().filter(|answer| answer.status == 204).count(), 1);
}

#[tokio::test]
async fn candidates_of_hosts_and_of_trees() {
    let cloud = cloud().await;
    for n in 0..20 {
        cloud.provider(&format!("host{n}"), None, &[("VCPU", 4), ("MEMORY_MB", 1024)]).await;
    }
    let found = cloud.candidates("resources=VCPU:1,MEMORY_MB:512&limit=5").await;
    let requests = found["allocation_requests"].as_array().unwrap();
    assert_eq!((requests.len(), found["provider_summaries"].as_object().unwrap().len()), (5, 5));
    let (host, share) = requests[0]["allocations"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(share["resources"], json!({"VCPU": 1, "MEMORY_MB": 512}));
    assert_eq!(requests[0]["mappings"], json!({"": [host]}));
    assert_eq!(found["provider_summaries"][host]["resources"]["VCPU"], json!({"capacity": 4, "used": 0}));
    // a candidate is a claim
    let mut body = requests[0].clone();
    body.as_object_mut().unwrap().extend(claim(host, 1, None).as_object().unwrap().clone().into_iter().filter(|(k, _)| k != "allocations"));
    assert_eq!(cloud.put(&format!("/allocations/{}", ids::uuid()), body).await.status, 204);
    assert_eq!(cloud.candidates("resources=VCPU:5").await["allocation_requests"], json!([]));
    assert_eq!(cloud.candidates("resources=VCPU:4").await["allocation_requests"].as_array().unwrap().len(), 19);
    assert_eq!(cloud.candidates(&format!("resources=VCPU:1&in_tree={host}")).await["allocation_requests"].as_array().unwrap().len(), 1);
    let old = cloud.ask("1.10", "GET", "/allocation_candidates?resources=VCPU:1", None).await.body;
    assert!(old["allocation_requests"][0]["allocations"].is_array());
    for bad in [
        "",
        "resources=SHOES:1",
        "resources=VCPU:0",
        "resources=VCPU:1&required=NO_SUCH",
        "resources1=VCPU:1&resources2=VCPU:1",
        "resources=VCPU:1&limit=0",
    ] {
        assert_eq!(cloud.get(&format!("/allocation_candidates?{bad}")).await.status, 400, "{bad}");
    }
    // with trees
    let root = cloud.provider("root", None, &[("MEMORY_MB", 8192)]).await;
    let numa = cloud.provider("numa", Some(&root), &[("VCPU", 64)]).await;
    let found = cloud.candidates("resources=VCPU:32,MEMORY_MB:4096").await;
    assert_eq!(found["allocation_requests"].as_array().unwrap().len(), 1);
    assert_eq!(
        found["allocation_requests"][0]["allocations"],
        json!({&numa: {"resources": {"VCPU": 32}}, &root: {"resources": {"MEMORY_MB": 4096}}})
    );
    assert_eq!(found["provider_summaries"][&numa]["root_provider_uuid"], json!(root));
    let before = cloud.ask("1.28", "GET", "/allocation_candidates?resources=VCPU:32,MEMORY_MB:4096", None).await.body;
    assert_eq!(before["allocation_requests"], json!([]), "trees came with 1.29");
    let grouped = cloud.candidates("resources=MEMORY_MB:4096&resources_A=VCPU:20&resources_B=VCPU:20&group_policy=none").await;
    assert_eq!(grouped["allocation_requests"][0]["mappings"], json!({"": [root], "_A": [numa], "_B": [numa]}));
    assert_eq!(grouped["allocation_requests"][0]["allocations"][&numa]["resources"]["VCPU"], 40);
    let apart = cloud.candidates("resources_A=VCPU:20&resources_B=VCPU:20&group_policy=isolate").await;
    assert_eq!(apart["allocation_requests"], json!([]));
}

#[tokio::test]
async fn a_reshape_moves_everything_or_nothing() {
    let cloud = cloud().await;
    let root = cloud.provider("root", None, &[("VCPU", 4), ("MEMORY_MB", 512)]).await;
    let numa = cloud.provider("numa", Some(&root), &[("DISK_GB", 1)]).await;
    let server = ids::uuid();
    assert_eq!(cloud.claim(&server, &root, 4, None).await.status, 204);
    let shape = |generation: i64| {
        json!({
            "inventories": {
                &root: {"inventories": {"MEMORY_MB": {"total": 512}}, "resource_provider_generation": generation},
                &numa: {"inventories": {"VCPU": {"total": 4}}, "resource_provider_generation": 1},
            },
            "allocations": {&server: claim(&numa, 4, Some(1))},
        })
    };
    assert_eq!(cloud.ask("1.39", "POST", "/reshaper", Some(shape(1))).await.status, 409);
    assert_eq!(cloud.used(&root).await, json!({"VCPU": 4, "MEMORY_MB": 0}));
    let mut nowhere = shape(2);
    nowhere["inventories"][ids::uuid()] = json!({"inventories": {}, "resource_provider_generation": 0});
    let refused = cloud.ask("1.39", "POST", "/reshaper", Some(nowhere)).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, "placement.resource_provider.not_found"));
    let done = cloud.ask("1.39", "POST", "/reshaper", Some(shape(2))).await;
    assert_eq!(done.status, 204, "{}", done.body);
    assert_eq!((cloud.used(&root).await, cloud.used(&numa).await), (json!({"MEMORY_MB": 0}), json!({"VCPU": 4})));
}

#[tokio::test]
async fn the_typed_client_speaks_to_it() {
    use sdk::placement::{Allocations, Inventory, Share, Wanted, stale};
    let cloud = cloud().await;
    let client = sdk::placement::Placement::new(sdk::Endpoint::local(std::sync::Arc::new(cloud.service.clone()), "http://placement"));
    let (auth, host, server) = (sdk::Auth::token(ADMIN), ids::uuid(), ids::uuid());
    assert_eq!(client.ensure_provider(&auth, &host, "host").await.unwrap(), client.ensure_provider(&auth, &host, "host").await.unwrap());
    let stock =
        [("VCPU".to_owned(), Inventory { allocation_ratio: 4.0, ..Inventory::of(4) }), ("MEMORY_MB".to_owned(), Inventory::of(512))];
    let stock = stock.into_iter().collect();
    assert!(client.set_inventories(&auth, &host, &stock).await.unwrap());
    assert!(!client.set_inventories(&auth, &host, &stock).await.unwrap());
    let traits = ["CUSTOM_SIM".to_owned(), "COMPUTE_NODE".to_owned()];
    assert!(client.set_traits(&auth, &host, &traits).await.unwrap());
    assert!(!client.set_traits(&auth, &host, &traits).await.unwrap());
    client.set_aggregates(&auth, &host, &[ids::uuid()]).await.unwrap();
    let wanted = Wanted {
        resources: [("VCPU".to_owned(), 2), ("MEMORY_MB".to_owned(), 256)].into_iter().collect(),
        required: vec!["CUSTOM_SIM".into()],
        limit: Some(10),
        ..Wanted::default()
    };
    let found = client.candidates(&auth, &wanted).await.unwrap();
    assert_eq!(found.provider_summaries[&host].resources["VCPU"].capacity, 16);
    let mine = Allocations {
        allocations: found.allocation_requests[0].allocations.clone(),
        project_id: "p".into(),
        user_id: "u".into(),
        consumer_generation: None,
        consumer_type: "INSTANCE".into(),
    };
    client.put_allocations(&auth, &server, &mine).await.unwrap();
    assert!(stale(&client.put_allocations(&auth, &server, &mine).await.unwrap_err()));
    let have = client.allocations(&auth, &server).await.unwrap();
    assert_eq!((have.consumer_generation, have.allocations.get(&host)), (Some(1), mine.allocations.get(&host)));
    let big = Share { resources: [("MEMORY_MB".to_owned(), 512)].into_iter().collect() };
    let second = Allocations { allocations: [(host.clone(), big)].into_iter().collect(), ..mine };
    let full = client.put_allocations(&auth, &ids::uuid(), &second).await.unwrap_err();
    assert!(full.is_conflict() && !stale(&full), "{full}");
    assert_eq!(client.provider_usages(&auth, &host).await.unwrap()["MEMORY_MB"], 256);
    assert_eq!(client.provider_allocations(&auth, &host).await.unwrap().allocations.len(), 1);
    client.delete_allocations(&auth, &server).await.unwrap();
    client.delete_allocations(&auth, &server).await.unwrap();
    assert_eq!(client.allocations(&auth, &server).await.unwrap(), Allocations::default());
    client.delete_provider(&auth, &host).await.unwrap();
    assert!(client.providers(&auth, &[("name", "host")]).await.unwrap().is_empty());
}

/// `operations.txt` has all of the API, one a line: method, path, and the version it came with.
#[tokio::test]
async fn every_operation_is_answered() {
    let cloud = cloud().await;
    for line in include_str!("../operations.txt").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let path = words[1].replace("{uuid}", &ids::uuid()).replace("{consumer_uuid}", &ids::uuid());
        let path = path.replace("{resource_class}", "VCPU").replace("{name}", "CUSTOM_X");
        let version = words.get(2).copied().unwrap_or_default();
        let body = matches!(words[0], "POST" | "PUT").then(|| json!({}));
        let answer = cloud.ask(version, words[0], &path, body).await;
        // the router has nothing to say beyond the sentence of the status
        let detail = answer.body["errors"][0]["detail"].as_str().unwrap_or_default().to_owned();
        let unknown = answer.status == 404 && detail.trim() == "The resource could not be found.";
        assert!(!unknown && answer.status != 405 && !answer.status.is_server_error(), "{line}: {} {detail}", answer.status);
    }
}
