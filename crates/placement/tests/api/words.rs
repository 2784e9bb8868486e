//! What OpenStack's own placement was seen to answer, where it is not to be guessed: generations, codes, words, repeated parameters.

use kit::ids;
use serde_json::json;

use super::{claim, cloud};

/// The generation is of what a provider has: names, parents, the same traits again and what is given back leave it alone.
#[tokio::test]
async fn generations_move_with_what_a_provider_has() {
    let cloud = cloud().await;
    let host = cloud.provider("host", None, &[("VCPU", 8)]).await;
    let own = format!("/resource_providers/{host}");
    let generation = async || cloud.get(&own).await.body["generation"].as_i64().unwrap();
    assert_eq!(generation().await, 1);
    assert_eq!(cloud.put(&own, json!({"name": "renamed"})).await.body["generation"], 1);
    let traits = json!({"traits": ["HW_CPU_X86_VMX"], "resource_provider_generation": 1});
    assert_eq!(cloud.put(&format!("{own}/traits"), traits).await.body["resource_provider_generation"], 2);
    let again = json!({"traits": ["HW_CPU_X86_VMX"], "resource_provider_generation": 2});
    assert_eq!(cloud.put(&format!("{own}/traits"), again).await.body["resource_provider_generation"], 2);
    let consumer = ids::uuid();
    assert_eq!(cloud.claim(&consumer, &host, 2, None).await.status, 204);
    assert_eq!(generation().await, 3);
    assert_eq!(cloud.ask("1.39", "DELETE", &format!("/allocations/{consumer}"), None).await.status, 204);
    assert_eq!((generation().await, cloud.used(&host).await), (3, json!({"VCPU": 0})));
}

/// Codes and words that are placement's own; before 1.39 the last `required` counts, and of `limit` and `group_policy` the first.
#[tokio::test]
async fn queries_are_read_as_placement_reads_them() {
    let cloud = cloud().await;
    let host = cloud.provider("host", None, &[("VCPU", 8), ("MEMORY_MB", 8)]).await;
    let traits = json!({"traits": ["HW_CPU_X86_VMX"], "resource_provider_generation": 1});
    assert_eq!(cloud.put(&format!("/resource_providers/{host}/traits"), traits).await.status, 200);
    for (version, query, found) in
        [("1.38", "required=HW_CPU_X86_SGX&required=HW_CPU_X86_VMX", 1), ("1.39", "required=HW_CPU_X86_SGX&required=HW_CPU_X86_VMX", 0)]
    {
        let list = cloud.ask(version, "GET", &format!("/resource_providers?{query}"), None).await;
        assert_eq!(list.body["resource_providers"].as_array().unwrap().len(), found, "{query}");
        let candidates = cloud.ask(version, "GET", &format!("/allocation_candidates?resources=VCPU:1&{query}"), None).await;
        assert_eq!(candidates.body["allocation_requests"].as_array().unwrap().len(), found, "{query}");
    }
    let isolated = "resources1=VCPU:1&resources2=MEMORY_MB:1&group_policy=isolate&group_policy=none";
    assert_eq!(cloud.candidates(isolated).await["allocation_requests"], json!([]));
    for (path, code, words) in [
        ("/allocation_candidates?resources=VCPU", "undefined_code", "Got: VCPU."),
        ("/allocation_candidates?resources=VCPU:x", "undefined_code", "Requested resource VCPU expected positive integer amount. Got: x."),
        ("/allocation_candidates?resources=", "undefined_code", "Got: empty string."),
        ("/allocation_candidates?required1=A", "query.missing_value", "There must be at least one resources or resources[$S] parameter."),
        ("/allocation_candidates?resources=VCPU:1&root_required=A&root_required=B", "query.duplicate_key", "may be specified only once."),
        ("/allocation_candidates?resources=VCPU:1&root_required=A,!A", "query.bad_value", "found in root_required: A"),
        ("/allocation_candidates?resources=VCPU:1&required=A,!A", "undefined_code", "traits keys: required: (A)"),
        ("/allocation_candidates?resources=VCPU:1&same_subtree=_A,,_B", "query.bad_value", "Empty string (unsuffixed group)"),
        ("/allocation_candidates?resources_A=VCPU:1&required_B=X&group_policy=none", "query.bad_value", "bad group(s) - ['_B']."),
        ("/allocation_candidates?resources1=VCPU:1&resources2=VCPU:1", "undefined_code", "\"group_policy\" parameter is required"),
        ("/resource_providers?member_of=x", "undefined_code", "to contain valid UUID(s). Got: x"),
        ("/resource_providers?required=", "undefined_code", "HW_CPU_X86_VMX,!CUSTOM_MAGIC. Got an empty trait in: "),
        ("/resource_providers?in_tree=x", "undefined_code", "to be a format of uuid. Got: x"),
        ("/usages?project_id=p&user_id=", "undefined_code", "'' should be non-empty"),
    ] {
        let answer = cloud.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, format!("placement.{code}").as_str()), "{path}: {}", answer.body);
        assert!(answer.body["errors"][0]["detail"].as_str().unwrap().contains(words), "{path}: {}", answer.body);
    }
    let refused = cloud.ask_as("p:reader", "1.39", "GET", "/traits", None).await;
    let words = "Access was denied to this resource.\n\n Policy does not allow placement:traits:list to be performed.  ";
    assert_eq!((refused.status.as_u16(), refused.body["errors"][0]["detail"].as_str()), (403, Some(words)));
    let unknown = cloud.get(&format!("/resource_providers/{}", ids::uuid())).await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (404, "placement.undefined_code"));
}

/// Before 1.29 clients do not know of trees, but what one provider of a tree can give alone they may have.
#[tokio::test]
async fn old_clients_get_one_provider_of_each_tree() {
    let cloud = cloud().await;
    let host = cloud.provider("host", None, &[("VCPU", 8)]).await;
    let nic = cloud.provider("nic", Some(&host), &[("SRIOV_NET_VF", 4)]).await;
    let ask = async |version: &str, resources: &str| {
        let answer = cloud.ask(version, "GET", &format!("/allocation_candidates?resources={resources}"), None).await;
        answer.body["allocation_requests"].clone()
    };
    assert_eq!(ask("1.28", "SRIOV_NET_VF:1").await, json!([{"allocations": {nic: {"resources": {"SRIOV_NET_VF": 1}}}}]));
    assert_eq!(ask("1.28", "VCPU:1,SRIOV_NET_VF:1").await, json!([]));
    assert_eq!(ask("1.29", "VCPU:1,SRIOV_NET_VF:1").await.as_array().unwrap().len(), 1);
}

/// Allocations in the forms they had: whose they are when nobody says so, and what must not be empty.
#[tokio::test]
async fn allocations_have_owners() {
    let cloud = cloud().await;
    let host = cloud.provider("host", None, &[("VCPU", 8)]).await;
    let consumer = format!("/allocations/{}", ids::uuid());
    let old = json!({"allocations": [{"resource_provider": {"uuid": host}, "resources": {"VCPU": 1}}]});
    assert_eq!(cloud.ask("1.7", "PUT", &consumer, Some(old.clone())).await.status, 204);
    let nobody = "00000000-0000-0000-0000-000000000000";
    let body = cloud.get(&consumer).await.body;
    assert_eq!((body["project_id"].as_str(), body["user_id"].as_str()), (Some(nobody), Some(nobody)));
    let unsaid = cloud.ask("1.8", "PUT", &consumer, Some(old)).await;
    assert!(unsaid.body["errors"][0]["detail"].as_str().unwrap().contains("'project_id' is a required property"), "{}", unsaid.body);
    for (key, value, words) in [
        ("mappings", json!({}), "{} should be non-empty"),
        ("mappings", json!({"": []}), "[] should be non-empty"),
        ("user_id", json!(""), "'' should be non-empty"),
        ("allocations", json!({host.as_str(): {"resources": {"VCPU": 0}}}), "0 is less than the minimum of 1"),
    ] {
        let mut body = claim(&host, 1, Some(1));
        body[key] = value;
        let answer = cloud.put(&consumer, body).await;
        assert!(answer.status == 400 && answer.body["errors"][0]["detail"].as_str().unwrap().contains(words), "{key}: {}", answer.body);
    }
    let twice = cloud.put(&consumer, claim(&host, 1, None)).await;
    assert_eq!((twice.status.as_u16(), twice.code()), (409, "placement.concurrent_update"));
    assert!(twice.body["errors"][0]["detail"].as_str().unwrap().contains("consumer generation conflict"), "{}", twice.body);
}
