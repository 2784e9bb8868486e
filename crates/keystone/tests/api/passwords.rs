//! What an operator demands of passwords, and what slows guessing down.

use serde_json::{Value, json};

use crate::common::{Cloud, project};

async fn change(cloud: &Cloud, user: &str, from: &str, to: &str) -> crate::common::Answer {
    let body = json!({"user": {"original_password": from, "password": to}});
    cloud.post("", &format!("/v3/users/{user}/password"), body).await
}

#[tokio::test]
async fn passwords_expire_and_are_not_used_again() {
    let cloud = Cloud::configured(|config| {
        config.security.change_password_upon_first_use = true;
        config.security.password_expires_days = 90;
        config.security.unique_last_password_count = 2;
    })
    .await;
    let admin = cloud.admin().await;
    let made = cloud.post(&admin, "/v3/users", json!({"user": {"name": "ann", "password": "first"}})).await.expect(201);
    let id = made.body["user"]["id"].as_str().unwrap().to_owned();
    let end = made.body["user"]["password_expires_at"].as_str().unwrap();
    assert!(!end.ends_with('Z'), "{end}");
    let refused = cloud.login("ann", "first", Value::Null).await.expect(401);
    assert_eq!(refused.body["error"]["message"], format!("The password is expired and needs to be changed for user: {id}."));
    cloud.login("ann", "wrong", Value::Null).await.expect(401);
    change(&cloud, &id, "first", "first").await.expect(400);
    change(&cloud, &id, "wrong", "second").await.expect(401);
    change(&cloud, &id, "first", "second").await.expect(204);
    let token = cloud.login("ann", "second", Value::Null).await.expect(201);
    assert!(token.body["token"]["user"]["password_expires_at"].is_string());
    let again = change(&cloud, &id, "second", "first").await.expect(400);
    assert!(again.body["error"]["message"].as_str().unwrap().starts_with("The new password cannot be identical"));
    change(&cloud, &id, "second", "third").await.expect(204);
    // the change ended the tokens
    cloud.validate(&admin, token.header("x-subject-token")).await.expect(404);
    change(&cloud, &id, "third", "first").await.expect(204);
    let soon = cloud.get(&admin, "/v3/users?password_expires_at=gt:2026-01-01T00:00:00Z").await.expect(200);
    assert_eq!(soon.body["users"].as_array().unwrap().len(), 1);
    cloud.get(&admin, "/v3/users?password_expires_at=soon").await.expect(400);
}

#[tokio::test]
async fn wrong_passwords_lock_an_account() {
    let cloud = Cloud::configured(|config| config.security.lockout_failure_attempts = 2).await;
    let admin = cloud.admin().await;
    cloud.login("demo", "wrong", Value::Null).await.expect(401);
    cloud.login("demo", "demo-secret", Value::Null).await.expect(201);
    cloud.login("demo", "wrong", Value::Null).await.expect(401);
    cloud.login("demo", "wrong", Value::Null).await.expect(401);
    let locked = cloud.login("demo", "demo-secret", Value::Null).await.expect(401);
    assert_eq!(locked.body["error"]["message"], "The request you have made requires authentication.");
    let id = cloud.id(&admin, "users", "demo").await;
    for enabled in [false, true] {
        cloud.patch(&admin, &format!("/v3/users/{id}"), json!({"user": {"enabled": enabled}})).await.expect(200);
    }
    cloud.login("demo", "demo-secret", project("demo")).await.expect(201);
}

#[tokio::test]
async fn guesses_at_once_lock_an_account_as_well() {
    let cloud = Cloud::configured(|config| config.security.lockout_failure_attempts = 3).await;
    let guesses = (0..8).map(|_| cloud.login("demo", "wrong", Value::Null));
    for guess in futures::future::join_all(guesses).await {
        guess.expect(401);
    }
    cloud.login("demo", "demo-secret", Value::Null).await.expect(401);
    // nor does it matter whether there is such a user
    cloud.login("nobody", "wrong", Value::Null).await.expect(401);
}

#[tokio::test]
async fn guessing_is_slowed_down_for_known_and_unknown_alike() {
    let cloud = Cloud::configured(|config| config.security.failed_logins_per_minute = 3).await;
    for name in ["demo", "nobody"] {
        for _ in 0..3 {
            cloud.login(name, "wrong", Value::Null).await.expect(401);
        }
        let slow = cloud.login(name, "wrong", Value::Null).await;
        // a little is forgiven while the hashes take their time
        let slow = if slow.status == 401 { cloud.login(name, "wrong", Value::Null).await } else { slow };
        assert_eq!((slow.status, slow.header("retry-after")), (429, "1"));
    }
    cloud.login("admin", "secret", Value::Null).await.expect(201);
}

#[tokio::test]
async fn scoped_tokens_can_be_kept_from_rescoping() {
    let cloud = Cloud::configured(|config| config.allow_rescope_scoped_token = false).await;
    let scoped = cloud.admin().await;
    cloud.rescope(&scoped, project("demo")).await.expect(403);
    let unscoped = cloud.login("admin", "secret", Value::Null).await.token();
    cloud.rescope(&unscoped, project("demo")).await.expect(201);
}

#[tokio::test]
async fn an_operator_demands_a_form_and_everybody_may_know_it() {
    let cloud = Cloud::configured(|config| {
        config.security.password_regex = Some(r"^(?=.*\d)(?=.*[a-z]).{6,}$".into());
        config.security.password_regex_description = Some("six characters and a digit".into());
    })
    .await;
    let admin = cloud.admin().await;
    let user = |password: &str| json!({"user": {"name": "ann", "password": password}});
    let refused = cloud.post(&admin, "/v3/users", user("short")).await.expect(400);
    let words = "The password does not match the requirements: six characters and a digit.";
    assert_eq!(refused.body["error"]["message"], words);
    let made = cloud.post(&admin, "/v3/users", user("long3nough")).await.expect(201);
    let path = format!("/v3/users/{}", made.body["user"]["id"].as_str().unwrap());
    cloud.patch(&admin, &path, json!({"user": {"password": "nodigits"}})).await.expect(400);
    let change = |new: &str| json!({"user": {"original_password": "long3nough", "password": new}});
    cloud.post("", &format!("{path}/password"), change("nodigits")).await.expect(400);
    cloud.post("", &format!("{path}/password"), change("w1thdigits")).await.expect(204);

    let demo = cloud.demo().await;
    let rules = cloud.get(&demo, "/v3/domains/default/config/security_compliance").await.expect(200);
    assert_eq!(rules.body["config"]["security_compliance"]["password_regex_description"], "six characters and a digit");
    let one = cloud.get(&demo, "/v3/domains/default/config/security_compliance/password_regex_description").await.expect(200);
    assert_eq!(one.body, json!({"config": {"password_regex_description": "six characters and a digit"}}));
    cloud.get(&demo, "/v3/domains/default/config/security_compliance/lockout_duration").await.expect(403);
    cloud.get(&demo, "/v3/domains/default/config/ldap").await.expect(403);
}
