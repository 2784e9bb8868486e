//! Roles, what they imply, and who has them.

use serde_json::{Value, json};

use crate::common::Cloud;

fn found(body: &Value) -> usize {
    body["role_assignments"].as_array().unwrap().len()
}

#[tokio::test]
async fn grants_are_idempotent_and_checked() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let (user, place) = (cloud.id(&admin, "users", "demo").await, cloud.id(&admin, "projects", "service").await);
    let reader = cloud.id(&admin, "roles", "reader").await;
    for target in [format!("projects/{place}"), "domains/default".to_owned(), "system".to_owned()] {
        let all = format!("/v3/{target}/users/{user}/roles");
        let one = format!("{all}/{reader}");
        cloud.head(&admin, &one).await.expect(404);
        cloud.delete(&admin, &one).await.expect(404);
        cloud.put(&admin, &one).await.expect(204);
        cloud.put(&admin, &one).await.expect(204);
        cloud.head(&admin, &one).await.expect(204);
        assert_eq!(cloud.get(&admin, &all).await.expect(200).body["roles"][0]["name"], "reader");
        cloud.delete(&admin, &one).await.expect(204);
        assert_eq!(cloud.get(&admin, &all).await.expect(200).body["roles"], json!([]));
        cloud.put(&admin, &format!("{all}/nothing")).await.expect(404);
    }
    cloud.put(&admin, &format!("/v3/projects/{place}/users/nobody/roles/{reader}")).await.expect(404);
    cloud.put(&admin, &format!("/v3/projects/nowhere/users/{user}/roles/{reader}")).await.expect(404);
}

#[tokio::test]
async fn a_domains_role_is_for_its_projects_and_for_any_domain() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let elsewhere = cloud.post(&admin, "/v3/domains", json!({"domain": {"name": "elsewhere"}})).await.expect(201);
    let elsewhere = elsewhere.body["domain"]["id"].as_str().unwrap().to_owned();
    let role = cloud.post(&admin, "/v3/roles", json!({"role": {"name": "local", "domain_id": elsewhere}})).await.expect(201);
    let role = role.body["role"]["id"].as_str().unwrap().to_owned();
    let (user, place) = (cloud.id(&admin, "users", "demo").await, cloud.id(&admin, "projects", "service").await);
    cloud.put(&admin, &format!("/v3/projects/{place}/users/{user}/roles/{role}")).await.expect(403);
    cloud.put(&admin, &format!("/v3/system/users/{user}/roles/{role}")).await.expect(403);
    cloud.put(&admin, &format!("/v3/domains/default/users/{user}/roles/{role}")).await.expect(204);
}

#[tokio::test]
async fn assignments_as_made_and_as_effective() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let user = cloud.id(&admin, "users", "demo").await;
    let made = cloud.get(&admin, &format!("/v3/role_assignments?user.id={user}")).await.expect(200);
    assert_eq!(found(&made.body), 2);
    let effective = cloud.get(&admin, &format!("/v3/role_assignments?user.id={user}&effective&include_names")).await.expect(200);
    // member, the reader it implies, and _member_
    assert_eq!(found(&effective.body), 3);
    let all = effective.body["role_assignments"].as_array().unwrap();
    let reader = all.iter().find(|one| one["role"]["name"] == "reader").unwrap();
    assert!(reader["links"]["prior_role"].as_str().unwrap().contains("/implies/"));
    assert_eq!(reader["user"], json!({"id": user, "name": "demo", "domain": {"id": "default", "name": "Default"}}));
    assert_eq!(reader["scope"]["project"]["domain"], json!({"id": "default", "name": "Default"}));
    assert_eq!(found(&cloud.get(&admin, "/v3/role_assignments?scope.system=all").await.body), 1);
    cloud.get(&admin, "/v3/role_assignments?scope.system=all&scope.domain.id=default").await.expect(400);
    cloud.get(&admin, "/v3/role_assignments?effective&group.id=x").await.expect(400);
}

#[tokio::test]
async fn inherited_grants_reach_the_projects_below() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let user = cloud.id(&admin, "users", "demo").await;
    let reader = cloud.id(&admin, "roles", "reader").await;
    let place = cloud.id(&admin, "projects", "service").await;
    let grant = format!("/v3/OS-INHERIT/domains/default/users/{user}/roles/{reader}/inherited_to_projects");
    cloud.login("demo", "demo-secret", json!({"project": {"id": place}})).await.expect(401);
    cloud.put(&admin, &grant).await.expect(204);
    cloud.head(&admin, &grant).await.expect(204);
    cloud.login("demo", "demo-secret", json!({"project": {"id": place}})).await.expect(201);
    cloud.login("demo", "demo-secret", json!({"domain": {"id": "default"}})).await.expect(401);
    let listed = cloud.get(&admin, &format!("/v3/role_assignments?user.id={user}&scope.project.id={place}&effective")).await;
    assert_eq!(found(&listed.body), 1);
    cloud.delete(&admin, &grant).await.expect(204);
    cloud.login("demo", "demo-secret", json!({"project": {"id": place}})).await.expect(401);
}

#[tokio::test]
async fn roles_imply_others_at_once() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let made = cloud.post(&admin, "/v3/roles", json!({"role": {"name": "auditor"}})).await.expect(201);
    cloud.post(&admin, "/v3/roles", json!({"role": {"name": "auditor"}})).await.expect(409);
    let auditor = made.body["role"]["id"].as_str().unwrap().to_owned();
    let member = cloud.id(&admin, "roles", "member").await;
    let path = format!("/v3/roles/{member}/implies/{auditor}");
    let demo = cloud.demo().await;
    let has = |body: Value| body["token"]["roles"].as_array().unwrap().iter().any(|role| role["name"] == "auditor");
    cloud.get(&admin, &path).await.expect(404);
    cloud.put(&admin, &path).await.expect(201);
    cloud.head(&admin, &path).await.expect(204);
    assert!(has(cloud.validate(&demo, &demo).await.body));
    let inferences = cloud.get(&admin, "/v3/role_inferences").await.expect(200);
    assert_eq!(inferences.body["role_inferences"].as_array().unwrap().len(), 3);
    cloud.delete(&admin, &path).await.expect(204);
    assert!(!has(cloud.validate(&demo, &demo).await.body));
    cloud.patch(&admin, &format!("/v3/roles/{auditor}"), json!({"role": {"options": {"immutable": true}}})).await.expect(200);
    cloud.delete(&admin, &format!("/v3/roles/{auditor}")).await.expect(403);
    cloud.patch(&admin, &format!("/v3/roles/{auditor}"), json!({"role": {"options": {"immutable": false}}})).await.expect(200);
    cloud.delete(&admin, &format!("/v3/roles/{auditor}")).await.expect(204);
}
