//! Users, groups, projects and domains from their making to their end.

use http::Method;
use serde_json::{Value, json};

use crate::common::{Cloud, bootstrap, project};

#[tokio::test]
async fn users_come_and_go() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let body = json!({"user": {"name": "ann", "password": "pass", "email": "ann@example.org", "options": {"lock_password": true}}});
    let made = cloud.post(&admin, "/v3/users", body.clone()).await.expect(201);
    let user = &made.body["user"];
    let id = user["id"].as_str().unwrap();
    assert_eq!((&user["domain_id"], &user["email"], &user["enabled"]), (&json!("default"), &json!("ann@example.org"), &json!(true)));
    assert_eq!((user.get("password"), &user["options"]), (None, &json!({"lock_password": true})));
    assert_eq!(user["links"]["self"], format!("http://cloud:5000/v3/users/{id}"));
    assert_eq!(cloud.get(&admin, &format!("/v3/users/{id}")).await.expect(200).body, made.body);

    let taken = cloud.post(&admin, "/v3/users", body).await.expect(409);
    let words = "Conflict occurred attempting to store user - Duplicate entry found with name ann at domain ID default.";
    assert_eq!(taken.body, json!({"error": {"code": 409, "title": "Conflict", "message": words}}));
    cloud.patch(&admin, &format!("/v3/users/{id}"), json!({"user": {"name": "admin"}})).await.expect(409);
    let changed = cloud.patch(&admin, &format!("/v3/users/{id}"), json!({"user": {"name": "bea", "email": null}})).await.expect(200);
    assert_eq!((&changed.body["user"]["name"], changed.body["user"].get("email")), (&json!("bea"), None));
    cloud.login("bea", "pass", Value::Null).await.expect(201);
    let change = json!({"user": {"original_password": "pass", "password": "word"}});
    cloud.post("", &format!("/v3/users/{id}/password"), change).await.expect(400);

    let list = cloud.get(&admin, "/v3/users?name__contains=be&enabled=1").await.expect(200);
    assert_eq!((list.body["users"].as_array().unwrap().len(), &list.body["links"]["next"]), (1, &Value::Null));
    cloud.delete(&admin, &format!("/v3/users/{id}")).await.expect(204);
    let gone = cloud.get(&admin, &format!("/v3/users/{id}")).await.expect(404);
    assert_eq!(gone.body["error"]["message"], format!("Could not find user: {id}."));
}

#[tokio::test]
async fn wrong_bodies_are_refused_and_change_nothing() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    for (path, body) in [
        ("/v3/users", json!({})),
        ("/v3/users", json!({"user": {}})),
        ("/v3/users", json!({"user": {"name": ""}})),
        ("/v3/users", json!({"user": {"name": 5}})),
        ("/v3/users", json!({"user": {"name": "x".repeat(300)}})),
        ("/v3/users", json!({"user": {"name": "x", "enabled": "yes"}})),
        ("/v3/users", json!({"user": {"name": "x", "options": {"fly": true}}})),
        ("/v3/projects", json!({"project": {"name": "x".repeat(65)}})),
        ("/v3/projects", json!({"project": {"name": "x", "tags": ["a,b"]}})),
        ("/v3/roles", json!({"role": {"description": "nameless"}})),
        ("/v3/services", json!({"service": {"name": "typeless"}})),
    ] {
        assert_eq!(cloud.post(&admin, path, body.clone()).await.status, 400, "{path} {body}");
    }
    for (path, body) in [
        ("/v3/users", json!({"user": {"name": "x", "domain_id": "nowhere"}})),
        ("/v3/groups", json!({"group": {"name": "x", "domain_id": "nowhere"}})),
        ("/v3/projects", json!({"project": {"name": "x", "domain_id": "nowhere"}})),
        ("/v3/projects", json!({"project": {"name": "x", "parent_id": "nowhere"}})),
    ] {
        assert_eq!(cloud.post(&admin, path, body.clone()).await.status, 404, "{path} {body}");
    }
    cloud.send(Method::POST, "/v3/users", &[("x-auth-token", &admin)], "{").await.expect(400);
    let put = cloud.put(&admin, "/v3/users").await.expect(405);
    assert_eq!((put.header("allow"), &put.body["message"]), ("GET, POST", &json!("The method is not allowed for the requested URL.")));
    for path in ["/v3/unheard-of", "/users", "/v4/users"] {
        let unknown = cloud.send(Method::GET, path, &[], "").await.expect(404);
        assert_eq!(unknown.header("content-type"), "text/html; charset=utf-8", "{path}");
    }
    assert_eq!(cloud.get(&admin, "/v3/users?name=x").await.body["users"], json!([]));
}

#[tokio::test]
async fn projects_form_trees() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let made = cloud.post(&admin, "/v3/projects", json!({"project": {"name": "top", "tags": ["a"], "colour": "red"}})).await.expect(201);
    let top = made.body["project"].clone();
    let id = top["id"].as_str().unwrap();
    assert_eq!((&top["parent_id"], &top["domain_id"], &top["is_domain"]), (&json!("default"), &json!("default"), &json!(false)));
    assert_eq!((&top["colour"], &top["tags"]), (&json!("red"), &json!(["a"])));
    let leaf = cloud.post(&admin, "/v3/projects", json!({"project": {"name": "leaf", "parent_id": id}})).await.expect(201);
    let leaf = leaf.body["project"]["id"].as_str().unwrap().to_owned();
    cloud.post(&admin, "/v3/projects", json!({"project": {"name": "leaf"}})).await.expect(409);
    let seen = cloud.get(&admin, &format!("/v3/projects/{leaf}?parents_as_ids")).await.expect(200);
    assert_eq!(seen.body["project"]["parents"], json!({id: null}));
    cloud.get(&admin, &format!("/v3/projects/{id}?subtree_as_list&subtree_as_ids")).await.expect(400);
    let seen = cloud.get(&admin, &format!("/v3/projects/{id}?subtree_as_list&include_limits")).await.expect(200);
    assert_eq!(seen.body["project"]["subtree"][0]["project"]["limits"], json!([]));
    let seen = cloud.get(&admin, &format!("/v3/projects/{id}?subtree_as_list")).await.expect(200);
    assert_eq!(seen.body["project"]["subtree"][0]["project"]["id"], leaf);
    cloud.delete(&admin, &format!("/v3/projects/{id}")).await.expect(403);

    cloud.put(&admin, &format!("/v3/projects/{id}/tags/b")).await.expect(201);
    assert_eq!(cloud.get(&admin, &format!("/v3/projects/{id}/tags")).await.body["tags"], json!(["a", "b"]));
    assert_eq!(cloud.get(&admin, "/v3/projects?tags=b").await.body["projects"][0]["id"], id);
    cloud.delete(&admin, &format!("/v3/projects/{id}/tags/c")).await.expect(404);
    cloud.delete(&admin, &format!("/v3/projects/{leaf}")).await.expect(204);
    cloud.delete(&admin, &format!("/v3/projects/{id}")).await.expect(204);
    cloud.get(&admin, &format!("/v3/projects/{id}")).await.expect(404);
}

#[tokio::test]
async fn domains_hold_their_own_and_take_it_along() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let made = cloud.post(&admin, "/v3/domains", json!({"domain": {"name": "Acme"}})).await.expect(201);
    let domain = made.body["domain"]["id"].as_str().unwrap().to_owned();
    cloud.post(&admin, "/v3/domains", json!({"domain": {"name": "Acme"}})).await.expect(409);
    let body = json!({"user": {"name": "admin", "password": "pass", "domain_id": domain}});
    let user = cloud.post(&admin, "/v3/users", body).await.expect(201).body["user"]["id"].as_str().unwrap().to_owned();
    let project = cloud.post(&admin, "/v3/projects", json!({"project": {"name": "admin", "domain_id": domain}})).await.expect(201);
    let project = project.body["project"]["id"].as_str().unwrap().to_owned();
    let member = cloud.id(&admin, "roles", "member").await;
    cloud.put(&admin, &format!("/v3/projects/{project}/users/{user}/roles/{member}")).await.expect(204);
    let identity =
        json!({"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"name": "Acme"}, "password": "pass"}}});
    let token = cloud.auth(identity.clone(), json!({"project": {"name": "admin", "domain": {"name": "Acme"}}})).await.token();
    cloud.validate(&admin, &token).await.expect(200);

    cloud.delete(&admin, &format!("/v3/domains/{domain}")).await.expect(403);
    cloud.patch(&admin, &format!("/v3/domains/{domain}"), json!({"domain": {"enabled": false}})).await.expect(200);
    cloud.validate(&admin, &token).await.expect(404);
    cloud.auth(identity, Value::Null).await.expect(401);
    cloud.delete(&admin, &format!("/v3/domains/{domain}")).await.expect(204);
    cloud.get(&admin, &format!("/v3/users/{user}")).await.expect(404);
    cloud.get(&admin, &format!("/v3/projects/{project}")).await.expect(404);
    cloud.patch(&admin, "/v3/domains/default", json!({"domain": {"enabled": false}})).await.expect(403);
}

/// More than one statement of the database can name.
#[tokio::test]
async fn a_domain_of_many_goes_as_a_whole() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let made = cloud.post(&admin, "/v3/domains", json!({"domain": {"name": "Acme"}})).await.expect(201);
    let domain = made.body["domain"]["id"].as_str().unwrap().to_owned();
    let group = cloud.post(&admin, "/v3/groups", json!({"group": {"name": "all", "domain_id": domain}})).await.expect(201);
    let group = group.body["group"]["id"].as_str().unwrap().to_owned();
    let join = async |n: usize| {
        let body = json!({"user": {"name": format!("user-{n}"), "domain_id": domain}});
        let made = cloud.post(&admin, "/v3/users", body).await.expect(201);
        let id = made.body["user"]["id"].as_str().unwrap().to_owned();
        cloud.put(&admin, &format!("/v3/groups/{group}/users/{id}")).await.expect(204);
        id
    };
    let users = futures::future::join_all((0..510).map(join)).await;
    let reader = cloud.id(&admin, "roles", "reader").await;
    cloud.put(&admin, &format!("/v3/domains/{domain}/groups/{group}/roles/{reader}")).await.expect(204);
    let members = cloud.get(&admin, &format!("/v3/groups/{group}/users?limit=1000")).await.expect(200);
    assert_eq!(members.body["users"].as_array().unwrap().len(), 510);
    let path = format!("/v3/role_assignments?effective&include_names&scope.domain.id={domain}");
    assert_eq!(cloud.get(&admin, &path).await.expect(200).body["role_assignments"].as_array().unwrap().len(), 510);
    cloud.patch(&admin, &format!("/v3/domains/{domain}"), json!({"domain": {"enabled": false}})).await.expect(200);
    cloud.delete(&admin, &format!("/v3/domains/{domain}")).await.expect(204);
    cloud.get(&admin, &format!("/v3/users/{}", users[509])).await.expect(404);
    assert_eq!(cloud.get(&admin, &path).await.expect(200).body["role_assignments"], json!([]));
}

#[tokio::test]
async fn groups_bring_roles() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let group = cloud.post(&admin, "/v3/groups", json!({"group": {"name": "crew"}})).await.expect(201);
    let group = group.body["group"]["id"].as_str().unwrap().to_owned();
    let (user, place) = (cloud.id(&admin, "users", "demo").await, cloud.id(&admin, "projects", "admin").await);
    let reader = cloud.id(&admin, "roles", "reader").await;
    let member = format!("/v3/groups/{group}/users/{user}");
    cloud.head(&admin, &member).await.expect(404);
    cloud.put(&admin, &member).await.expect(204);
    cloud.put(&admin, &member).await.expect(204);
    cloud.head(&admin, &member).await.expect(204);
    cloud.put(&admin, &format!("/v3/projects/{place}/groups/{group}/roles/{reader}")).await.expect(204);
    let token = cloud.login("demo", "demo-secret", project("admin")).await.token();
    assert_eq!(cloud.get(&admin, &format!("/v3/users/{user}/groups")).await.body["groups"][0]["name"], "crew");
    assert_eq!(cloud.get(&admin, &format!("/v3/groups/{group}/users")).await.body["users"][0]["name"], "demo");
    cloud.delete(&admin, &member).await.expect(204);
    cloud.validate(&admin, &token).await.expect(404);
    cloud.delete(&admin, &format!("/v3/groups/{group}")).await.expect(204);
}

#[tokio::test]
async fn lists_have_pages() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let mut seen = Vec::new();
    let mut path = "/v3/users?limit=2".to_owned();
    loop {
        let page = cloud.get(&admin, &path).await.expect(200);
        seen.extend(page.body["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap().to_owned()));
        match page.body["links"]["next"].as_str() {
            Some(next) => path = next.trim_start_matches("http://cloud:5000").to_owned(),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, ["admin", "demo", "nova"]);
    cloud.get(&admin, "/v3/users?limit=-1").await.expect(400);
}

#[tokio::test]
async fn bootstrap_again_moves_endpoints_and_changes_nothing_else() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let before = cloud.get(&admin, "/v3/role_assignments").await.expect(200);
    let mut wanted = bootstrap();
    wanted.endpoints[1].url = "http://elsewhere:8774/v2.1".into();
    cloud.keystone.bootstrap(&wanted).await.unwrap();
    // the same token still holds, as no password has changed
    assert_eq!(cloud.get(&admin, "/v3/role_assignments").await.expect(200).body, before.body);
    let catalog = cloud.get(&admin, "/v3/auth/catalog").await.expect(200).body["catalog"].clone();
    let nova = catalog.as_array().unwrap().iter().find(|service| service["type"] == "compute").unwrap();
    assert_eq!(nova["endpoints"].as_array().unwrap().len(), 3);
    assert_eq!(nova["endpoints"][0]["url"], "http://elsewhere:8774/v2.1");
}
