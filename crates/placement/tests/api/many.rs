//! Candidates among ten thousand hosts: trees are as right as hosts that stand alone, and not much slower.

use std::time::{Duration, Instant};

use kit::db::Db;
use sea_orm::ConnectionTrait;
use serde_json::Value;

use super::{Cloud, cloud};

const HOSTS: usize = 10_000;
/// Rows of one statement.
const ROWS: usize = 500;
const QUESTION: &str = "resources=VCPU:2,MEMORY_MB:512&limit=1000";

impl Cloud {
    pub async fn candidates(&self, query: &str) -> Value {
        let answer = self.get(&format!("/allocation_candidates?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        answer.body
    }
}

/// Writes rows behind placement's back.
async fn insert(cloud: &Cloud, into: &str, rows: impl Iterator<Item = String>) {
    let rows: Vec<String> = rows.collect();
    let statements: Vec<String> = rows.chunks(ROWS).map(|some| format!("INSERT INTO {into} VALUES {}", some.join(","))).collect();
    let db = Db::open(&cloud.location, &[]).await.unwrap();
    let written = db.write(move |tx| {
        Box::pin(async move {
            for statement in statements {
                tx.execute_unprepared(&statement).await?;
            }
            Ok(())
        })
    });
    written.await.unwrap();
}

fn host(n: usize) -> String {
    format!("{:08x}-0000-4000-8000-000000000000", n * 429_496)
}

fn node(n: usize, k: usize) -> String {
    format!("{:08x}-0000-4000-8000-00000000000{k}", n * 429_496)
}

/// Hosts that have everything, or memory themselves and processors in two nodes below them.
async fn hosts(nested: bool) -> Cloud {
    let cloud = cloud().await;
    let providers = "resource_providers (uuid, name, generation, root_uuid, parent_uuid, created_at, updated_at)";
    let inventories =
        "inventories (provider_uuid, resource_class, total, reserved, min_unit, max_unit, step_size, allocation_ratio, capacity, used)";
    let stock = |uuid: String, class: &str, n: i64| format!("('{uuid}', '{class}', {n}, 0, 1, {n}, 1, 1.0, {n}, 0)");
    let roots = (0..HOSTS).map(|n| format!("('{0}', 'host{n}', 1, '{0}', NULL, 0, 0)", host(n)));
    insert(&cloud, providers, roots).await;
    insert(&cloud, inventories, (0..HOSTS).map(|n| stock(host(n), "MEMORY_MB", 1024))).await;
    if nested {
        let nodes = || (0..HOSTS).flat_map(|n| [(n, 1), (n, 2)]);
        let below = nodes().map(|(n, k)| format!("('{}', 'node{n}.{k}', 1, '{1}', '{1}', 0, 0)", node(n, k), host(n)));
        insert(&cloud, providers, below).await;
        insert(&cloud, inventories, nodes().map(|(n, k)| stock(node(n, k), "VCPU", 4))).await;
    } else {
        insert(&cloud, inventories, (0..HOSTS).map(|n| stock(host(n), "VCPU", 8))).await;
    }
    cloud
}

/// The quickest of some answers.
async fn quickest(cloud: &Cloud) -> (Duration, Value) {
    let mut best = (Duration::MAX, Value::Null);
    for _ in 0..5 {
        let began = Instant::now();
        let answer = cloud.candidates(QUESTION).await;
        best = (best.0.min(began.elapsed()), answer);
    }
    best
}

#[tokio::test]
async fn trees_are_searched_about_as_quickly_as_hosts() {
    let (flat, nested) = (hosts(false).await, hosts(true).await);
    let (alone, of_hosts) = quickest(&flat).await;
    let (in_trees, of_trees) = quickest(&nested).await;
    for (answer, parts) in [(of_hosts, 1), (of_trees, 2)] {
        let requests = answer["allocation_requests"].as_array().unwrap();
        assert_eq!(requests.len(), 1000);
        assert!(requests.iter().all(|request| request["allocations"].as_object().unwrap().len() == parts));
    }
    assert!(in_trees < alone * 5, "{in_trees:?} in trees, {alone:?} of hosts that stand alone");
    // what only the last of them has is found, too
    let last = host(HOSTS - 1);
    insert(&nested, "provider_traits (provider_uuid, trait)", std::iter::once(format!("('{last}', 'HW_CPU_X86_AVX')"))).await;
    let found = nested.candidates("resources=VCPU:4,MEMORY_MB:512&root_required=HW_CPU_X86_AVX").await;
    let requests = found["allocation_requests"].as_array().unwrap();
    assert!(requests.len() == 2 && requests.iter().all(|request| request["allocations"].get(&last).is_some()), "{found}");
}
