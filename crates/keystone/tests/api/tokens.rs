//! Logging in, scopes, validation, revocation.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::common::{Cloud, project};

#[tokio::test]
async fn a_scoped_token_says_all_about_itself() {
    let cloud = Cloud::start().await;
    let answer = cloud.login("admin", "secret", project("admin")).await.expect(201);
    let issued = answer.header("x-subject-token").to_owned();
    let token = &answer.body["token"];
    assert_eq!(token["methods"], json!(["password"]));
    assert_eq!(token["user"]["name"], "admin");
    assert_eq!(token["user"]["domain"], json!({"id": "default", "name": "Default"}));
    assert_eq!(token["user"]["password_expires_at"], Value::Null);
    assert_eq!(token["project"]["name"], "admin");
    assert_eq!(token["project"]["domain"], json!({"id": "default", "name": "Default"}));
    assert_eq!(token["is_domain"], false);
    let roles: Vec<&str> = token["roles"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
    assert_eq!(roles, ["_member_", "admin", "manager", "member", "reader"]);
    let volume = token["catalog"].as_array().unwrap().iter().find(|service| service["type"] == "volumev3").unwrap();
    let id = token["project"]["id"].as_str().unwrap();
    assert_eq!(volume["endpoints"][0]["url"], format!("http://cloud:8776/v3/{id}"));
    assert_eq!(volume["endpoints"][0]["region"], "RegionOne");

    let again = cloud.validate(&issued, &issued).await.expect(200);
    assert_eq!(again.body, answer.body);
    assert_eq!(again.header("x-subject-token"), issued);
    assert_eq!(again.header("vary"), "X-Auth-Token");
    let headers = [("x-auth-token", issued.as_str()), ("x-subject-token", issued.as_str())];
    let head = cloud.send(Method::HEAD, "/v3/auth/tokens", &headers, "").await.expect(200);
    assert_eq!(head.body, Value::Null);
    let short = cloud.send(Method::GET, "/v3/auth/tokens?nocatalog", &headers, "").await.expect(200);
    assert_eq!(short.body["token"].get("catalog"), None);
}

#[tokio::test]
async fn every_wrong_login_is_the_same_401() {
    let cloud = Cloud::start().await;
    let wrong = cloud.login("admin", "wrong", project("admin")).await.expect(401);
    assert_eq!(wrong.header("www-authenticate"), "Keystone uri=\"http://cloud:5000\"");
    assert_eq!(
        wrong.body,
        json!({"error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}})
    );
    for (user, password, scope) in [
        ("nobody", "secret", Value::Null),
        ("admin", "secret", project("nowhere")),
        ("admin", "secret", json!({"project": {"id": "nowhere"}})),
        ("admin", "secret", json!({"domain": {"name": "nowhere"}})),
        ("demo", "demo-secret", project("admin")),
        ("demo", "demo-secret", json!({"system": {"all": true}})),
        ("demo", "demo-secret", json!({"domain": {"id": "default"}})),
    ] {
        assert_eq!(cloud.login(user, password, scope).await.expect(401).body, wrong.body);
    }
    assert_eq!(cloud.auth(json!({"methods": ["smell"]}), Value::Null).await.expect(401).body, wrong.body);
}

#[tokio::test]
async fn malformed_logins_are_400() {
    let cloud = Cloud::start().await;
    let login = |user: Value| json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}});
    for body in [
        json!([]),
        json!({}),
        json!({"auth": {}}),
        json!({"auth": {"identity": {"methods": []}}}),
        json!({"auth": {"identity": {"methods": ["password"]}}}),
        login(json!({"password": "x"})),
        login(json!({"name": "admin", "password": "secret"})),
        login(json!({"name": 7, "domain": {"id": "default"}, "password": "secret"})),
    ] {
        let answer = cloud.post("", "/v3/auth/tokens", body.clone()).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!(400)), "{body}");
    }
    cloud.send(Method::POST, "/v3/auth/tokens", &[], "{not json").await.expect(400);
    cloud.login("admin", "secret", json!({"project": {"name": "admin"}})).await.expect(400);
    cloud.login("admin", "secret", json!({"galaxy": {}})).await.expect(400);
    cloud.login("admin", "wrong", json!({"system": {"all": true}, "domain": {"id": "default"}})).await.expect(400);
    cloud.send(Method::POST, "/v3/auth/tokens", &[], "x".repeat(2 << 20)).await.expect(413);
}

#[tokio::test]
async fn scopes_and_rescoping() {
    let cloud = Cloud::start().await;
    let unscoped = cloud.login("admin", "secret", Value::Null).await.expect(201);
    assert_eq!(unscoped.body["token"].get("roles"), None);
    assert_eq!(unscoped.body["token"].get("catalog"), None);
    let token = unscoped.header("x-subject-token").to_owned();

    let system = cloud.rescope(&token, json!({"system": {"all": true}})).await.expect(201);
    assert_eq!(system.body["token"]["system"], json!({"all": true}));
    let domain = cloud.rescope(&token, json!({"domain": {"name": "Default"}})).await.expect(201);
    assert_eq!(domain.body["token"]["domain"], json!({"id": "default", "name": "Default"}));
    let demo = cloud.rescope(&token, project("demo")).await.expect(201);
    assert_eq!(demo.body["token"]["project"]["name"], "demo");
    assert_eq!(demo.body["token"]["expires_at"], unscoped.body["token"]["expires_at"]);
    assert_eq!(demo.body["token"]["methods"], json!(["password", "token"]));
    assert_eq!(demo.body["token"]["audit_ids"][1], unscoped.body["token"]["audit_ids"][0]);

    let projects = cloud.get(&token, "/v3/auth/projects").await.expect(200);
    let names: Vec<&Value> = projects.body["projects"].as_array().unwrap().iter().map(|project| &project["name"]).collect();
    assert_eq!(names, ["admin", "demo"]);
    assert_eq!(cloud.get(&token, "/v3/auth/domains").await.body["domains"][0]["id"], "default");
    assert_eq!(cloud.get(&token, "/v3/auth/system").await.body["system"], json!([{"all": true}]));
    cloud.get(&token, "/v3/auth/catalog").await.expect(403);
    let catalog = cloud.get(&demo.token(), "/v3/auth/catalog").await.expect(200);
    assert_eq!(catalog.body["catalog"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn without_a_scope_the_default_project_counts() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let (user, demo) = (cloud.id(&admin, "users", "demo").await, cloud.id(&admin, "projects", "demo").await);
    cloud.patch(&admin, &format!("/v3/users/{user}"), json!({"user": {"default_project_id": demo}})).await.expect(200);
    assert_eq!(cloud.login("demo", "demo-secret", Value::Null).await.expect(201).body["token"]["project"]["id"], demo);
    assert_eq!(cloud.login("demo", "demo-secret", json!("unscoped")).await.expect(201).body["token"].get("project"), None);
    cloud.patch(&admin, &format!("/v3/users/{user}"), json!({"user": {"default_project_id": "gone"}})).await.expect(200);
    assert_eq!(cloud.login("demo", "demo-secret", Value::Null).await.expect(201).body["token"].get("project"), None);
}

#[tokio::test]
async fn who_may_ask_about_a_token() {
    let cloud = Cloud::start().await;
    let (admin, demo) = (cloud.admin().await, cloud.demo().await);
    let nova = cloud.login("nova", "nova-secret", project("service")).await.token();
    cloud.validate(&demo, &demo).await.expect(200);
    cloud.validate(&admin, &demo).await.expect(200);
    cloud.validate(&nova, &demo).await.expect(200);
    cloud.validate(&demo, &admin).await.expect(403);
    cloud.validate(&demo, "gAAAA-nonsense").await.expect(404);
    cloud.rescope("gAAAA-nonsense", Value::Null).await.expect(404);
    cloud.validate(&admin, "gAAAA-nonsense").await.expect(404);
    cloud.validate("gAAAA-nonsense", &demo).await.expect(401);
    cloud.get(&admin, "/v3/auth/tokens").await.expect(404);
    cloud.get("", "/v3/auth/tokens").await.expect(401);
}

#[tokio::test]
async fn services_may_ask_about_a_token_that_has_ended() {
    let cloud = Cloud::configured(|config| config.token_lifetime = Duration::from_secs(2)).await;
    let demo = cloud.demo().await;
    while cloud.get(&demo, "/v3/auth/projects").await.status == 200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = async |asker: &str| {
        let headers = [("x-auth-token", asker), ("x-subject-token", demo.as_str())];
        cloud.send(Method::GET, "/v3/auth/tokens?allow_expired=1", &headers, "").await
    };
    let nova = async || cloud.login("nova", "nova-secret", project("service")).await.token();
    let service = nova().await;
    assert_eq!(ended(&service).await.expect(200).body["token"]["user"]["name"], "demo");
    cloud.validate(&service, &demo).await.expect(404);
    ended(&cloud.demo().await).await.expect(404);
    // what was taken back besides stays so
    let admin = cloud.admin().await;
    let user = cloud.id(&admin, "users", "demo").await;
    cloud.patch(&admin, &format!("/v3/users/{user}"), json!({"user": {"enabled": false}})).await.expect(200);
    ended(&nova().await).await.expect(404);
}

#[tokio::test]
async fn revoked_tokens_are_nobody_at_once() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let demo = cloud.demo().await;
    let other = cloud.demo().await;
    cloud.validate(&admin, &demo).await.expect(200);
    cloud.send(Method::DELETE, "/v3/auth/tokens", &[("x-auth-token", &demo), ("x-subject-token", &demo)], "").await.expect(204);
    cloud.validate(&admin, &demo).await.expect(404);
    cloud.get(&demo, "/v3/auth/projects").await.expect(401);
    cloud.validate(&admin, &other).await.expect(200);
}

#[tokio::test]
async fn tokens_end_with_what_they_stand_on() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let (user, demo) = (cloud.id(&admin, "users", "demo").await, cloud.id(&admin, "projects", "demo").await);
    let (user_path, project_path) = (format!("/v3/users/{user}"), format!("/v3/projects/{demo}"));

    let token = cloud.demo().await;
    cloud.patch(&admin, &user_path, json!({"user": {"enabled": false}})).await.expect(200);
    cloud.validate(&admin, &token).await.expect(404);
    cloud.login("demo", "demo-secret", Value::Null).await.expect(401);
    cloud.patch(&admin, &user_path, json!({"user": {"enabled": true}})).await.expect(200);
    cloud.validate(&admin, &token).await.expect(404);

    let token = cloud.demo().await;
    let body = json!({"user": {"original_password": "demo-secret", "password": "better"}});
    cloud.post("", &format!("{user_path}/password"), json!({"user": {"original_password": "no", "password": "x"}})).await.expect(401);
    cloud.post(&token, &format!("{user_path}/password"), body).await.expect(204);
    cloud.validate(&admin, &token).await.expect(404);
    cloud.login("demo", "demo-secret", Value::Null).await.expect(401);

    let token = cloud.login("demo", "better", project("demo")).await.token();
    cloud.patch(&admin, &project_path, json!({"project": {"enabled": false}})).await.expect(200);
    cloud.validate(&admin, &token).await.expect(404);
    cloud.login("demo", "better", project("demo")).await.expect(401);
    cloud.patch(&admin, &project_path, json!({"project": {"enabled": true}})).await.expect(200);

    let token = cloud.login("demo", "better", project("demo")).await.token();
    for role in ["member", "_member_"] {
        let role = cloud.id(&admin, "roles", role).await;
        cloud.validate(&admin, &token).await.expect(200);
        cloud.delete(&admin, &format!("{project_path}/users/{user}/roles/{role}")).await.expect(204);
    }
    cloud.validate(&admin, &token).await.expect(404);
    cloud.delete(&admin, &user_path).await.expect(204);
    cloud.login("demo", "better", Value::Null).await.expect(401);
}

#[tokio::test]
async fn application_credentials_act_for_their_user_with_less() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let user = cloud.id(&admin, "users", "admin").await;
    let path = format!("/v3/users/{user}/application_credentials");
    let body = json!({"application_credential": {"name": "backup", "roles": [{"name": "reader"}]}});
    let made = cloud.post(&admin, &path, body.clone()).await.expect(201);
    cloud.post(&admin, &path, body).await.expect(409);
    let (id, secret) = (&made.body["application_credential"]["id"], &made.body["application_credential"]["secret"]);
    let login = |secret: Value| json!({"methods": ["application_credential"], "application_credential": {"id": id, "secret": secret}});
    let answer = cloud.auth(login(secret.clone()), Value::Null).await.expect(201);
    assert_eq!(answer.body["token"]["project"]["name"], "admin");
    assert_eq!(answer.body["token"]["application_credential"], json!({"id": id, "name": "backup", "restricted": true}));
    let roles = answer.body["token"]["roles"].as_array().unwrap();
    assert_eq!((roles.len(), &roles[0]["name"]), (1, &json!("reader")));
    let token = answer.token();
    cloud.auth(login(json!("wrong")), Value::Null).await.expect(401);
    cloud.auth(login(secret.clone()), project("admin")).await.expect(401);
    cloud.rescope(&token, project("admin")).await.expect(403);
    cloud.post(&token, &path, json!({"application_credential": {"name": "more"}})).await.expect(403);
    cloud.delete(&admin, &format!("{path}/{}", id.as_str().unwrap())).await.expect(204);
    cloud.validate(&admin, &token).await.expect(404);
}
