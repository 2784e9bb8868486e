//! Trusts, credentials, access keys, one-time passwords, access rules.

use http::Method;
use serde_json::{Value, json};

use crate::common::{Cloud, project};

/// The ids of demo, of project demo and of the role member.
async fn demo(cloud: &Cloud, admin: &str) -> (String, String, String) {
    (cloud.id(admin, "users", "demo").await, cloud.id(admin, "projects", "demo").await, cloud.id(admin, "roles", "member").await)
}

#[tokio::test]
async fn a_trust_lets_another_act_within_its_roles() {
    let cloud = Cloud::start().await;
    let (admin, token) = (cloud.admin().await, cloud.demo().await);
    let (user, place, _) = demo(&cloud, &admin).await;
    let nova = cloud.id(&admin, "users", "nova").await;
    let trust = |roles: Value, more: Value| {
        let mut trust =
            json!({"trustor_user_id": user, "trustee_user_id": nova, "project_id": place, "impersonation": true, "roles": roles});
        trust.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"trust": trust})
    };
    let path = "/v3/OS-TRUST/trusts";
    cloud.post(&token, path, trust(json!([{"name": "admin"}]), json!({}))).await.expect(404);
    cloud.post(&token, path, trust(json!([]), json!({}))).await.expect(403);
    cloud.post(&token, path, trust(json!([{"name": "member"}]), json!({"expires_at": "2001-01-01T00:00:00Z"}))).await.expect(400);
    cloud.post(&admin, path, trust(json!([{"name": "member"}]), json!({}))).await.expect(403);
    let made = cloud.post(&token, path, trust(json!([{"name": "reader"}]), json!({"remaining_uses": 1}))).await.expect(201);
    let id = made.body["trust"]["id"].as_str().unwrap().to_owned();
    assert_eq!((&made.body["trust"]["roles"][0]["name"], &made.body["trust"]["deleted_at"]), (&json!("reader"), &Value::Null));

    let trusted = json!({"OS-TRUST:trust": {"id": id}});
    cloud.login("admin", "secret", trusted.clone()).await.expect(401);
    let used = cloud.login("nova", "nova-secret", trusted.clone()).await.expect(201);
    let body = &used.body["token"];
    assert_eq!((&body["user"]["id"], &body["OS-TRUST:trust"]["trustee_user"]["id"]), (&json!(user), &json!(nova)));
    assert_eq!(body["roles"].as_array().unwrap().len(), 1);
    let acting = used.header("x-subject-token").to_owned();
    cloud.validate(&acting, &acting).await.expect(200);
    cloud.rescope(&acting, project("demo")).await.expect(403);
    cloud.login("nova", "nova-secret", trusted.clone()).await.expect(401);
    cloud.get(&token, &format!("{path}/{id}")).await.expect(404);

    let made = cloud.post(&token, path, trust(json!([{"name": "reader"}]), json!({}))).await.expect(201);
    let id = made.body["trust"]["id"].as_str().unwrap().to_owned();
    let service = cloud.login("nova", "nova-secret", project("service")).await.token();
    assert_eq!(cloud.get(&token, &format!("{path}?trustor_user_id={user}")).await.expect(200).body["trusts"].as_array().unwrap().len(), 2);
    cloud.get(&token, path).await.expect(403);
    cloud.get(&service, &format!("{path}/{id}/roles")).await.expect(200);
    let acting = cloud.login("nova", "nova-secret", json!({"OS-TRUST:trust": {"id": id}})).await.token();
    cloud.delete(&token, &format!("{path}/{id}")).await.expect(204);
    cloud.validate(&admin, &acting).await.expect(404);
    cloud.get(&token, &format!("{path}/{id}")).await.expect(404);
    cloud.get(&admin, &format!("{path}/{id}")).await.expect(404);
}

#[tokio::test]
async fn credentials_belong_to_their_user() {
    let cloud = Cloud::start().await;
    let (admin, token) = (cloud.admin().await, cloud.demo().await);
    let (user, place, _) = demo(&cloud, &admin).await;
    let credential = |kind: &str, blob: &str| json!({"credential": {"type": kind, "blob": blob, "user_id": user, "project_id": place}});
    let made = cloud.post(&token, "/v3/credentials", credential("cert", "secret text")).await.expect(201);
    let id = made.body["credential"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made.body["credential"]["blob"], "secret text");
    cloud.post(&token, "/v3/credentials", credential("ec2", "no json")).await.expect(400);
    cloud.post(&token, "/v3/credentials", credential("ec2", r#"{"access":"a","secret":"s"}"#)).await.expect(201);
    cloud.post(&token, "/v3/credentials", credential("ec2", r#"{"access":"a","secret":"t"}"#)).await.expect(409);
    cloud.post(&admin, "/v3/credentials", json!({"credential": {"type": "cert", "blob": "mine"}})).await.expect(201);
    assert_eq!(cloud.get(&token, "/v3/credentials").await.expect(200).body["credentials"].as_array().unwrap().len(), 2);
    assert_eq!(cloud.get(&token, "/v3/credentials?type=ec2").await.body["credentials"].as_array().unwrap().len(), 1);
    assert_eq!(cloud.get(&admin, "/v3/credentials").await.body["credentials"].as_array().unwrap().len(), 3);
    let service = cloud.login("nova", "nova-secret", Value::Null).await.token();
    cloud.get(&service, &format!("/v3/credentials/{id}")).await.expect(403);
    let changed = cloud.patch(&token, &format!("/v3/credentials/{id}"), json!({"credential": {"blob": "other"}})).await.expect(200);
    assert_eq!(changed.body["credential"]["blob"], "other");
    cloud.delete(&token, &format!("/v3/credentials/{id}")).await.expect(204);
    cloud.get(&admin, &format!("/v3/credentials/{id}")).await.expect(404);
}

#[tokio::test]
async fn signed_requests_are_exchanged_for_tokens() {
    let cloud = Cloud::start().await;
    let (admin, token) = (cloud.admin().await, cloud.demo().await);
    let (user, place, _) = demo(&cloud, &admin).await;
    let all = format!("/v3/users/{user}/credentials/OS-EC2");
    let made = cloud.post(&token, &all, json!({"tenant_id": place})).await.expect(201).body["credential"].clone();
    let (access, secret) = (made["access"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert_eq!((made["tenant_id"].as_str(), &made["trust_id"]), (Some(place.as_str()), &Value::Null));
    let signed = |signature: &str| json!({"credentials": {"access": access, "signature": signature, "params": {"SignatureVersion": "0", "Action": "A", "Timestamp": ""}}});
    cloud.post("", "/v3/ec2tokens", signed("x")).await.expect(401);
    cloud.post(&token, "/v3/ec2tokens", signed("x")).await.expect(403);
    cloud.post(&admin, "/v3/ec2tokens", signed("x")).await.expect(401);
    let right = signature(secret, "A");
    let answer = cloud.post(&admin, "/v3/ec2tokens", signed(&right)).await.expect(200);
    assert_eq!((&answer.body["token"]["user"]["id"], &answer.body["token"]["methods"]), (&json!(user), &json!(["ec2credential"])));
    let s3 = json!({"credentials": {"access": access, "signature": right, "token": "QQ=="}});
    let answer = cloud.post(&admin, "/v3/s3tokens", s3).await.expect(200);
    assert_eq!(answer.body["token"]["project"]["id"], place);

    assert_eq!(cloud.get(&token, &all).await.expect(200).body["credentials"][0]["access"], access);
    // a key for a project in which the user has no role opens nothing
    let elsewhere = cloud.id(&admin, "projects", "admin").await;
    let useless = cloud.post(&token, &all, json!({"tenant_id": elsewhere})).await.expect(201).body["credential"].clone();
    let useless = (useless["access"].as_str().unwrap(), useless["secret"].as_str().unwrap());
    let sent = json!({"credentials": {"access": useless.0, "signature": signature(useless.1, "A"),
        "params": {"SignatureVersion": "0", "Action": "A", "Timestamp": ""}}});
    cloud.post(&admin, "/v3/ec2tokens", sent).await.expect(401);
    cloud.delete(&token, &format!("{all}/{}", useless.0)).await.expect(204);
    cloud.delete(&token, &format!("{all}/{}", useless.0)).await.expect(404);
    cloud.delete(&token, &format!("{all}/{access}")).await.expect(204);
    cloud.get(&token, &format!("{all}/{access}")).await.expect(404);
    cloud.post(&admin, "/v3/ec2tokens", signed(&right)).await.expect(401);
}

#[tokio::test]
async fn what_stands_for_less_than_its_user_gets_no_more() {
    let cloud = Cloud::start().await;
    let (admin, token) = (cloud.admin().await, cloud.demo().await);
    let (user, place, _) = demo(&cloud, &admin).await;
    let (keys, credentials) = (format!("/v3/users/{user}/credentials/OS-EC2"), format!("/v3/users/{user}/application_credentials"));
    let key = cloud.post(&token, &keys, json!({"tenant_id": place})).await.expect(201).body["credential"].clone();
    let sent = json!({"credentials": {"access": key["access"], "signature": signature(key["secret"].as_str().unwrap(), "A"),
        "params": {"SignatureVersion": "0", "Action": "A", "Timestamp": ""}}});
    let signed = cloud.post(&admin, "/v3/ec2tokens", sent).await.expect(200).header("x-subject-token").to_owned();
    let free = json!({"application_credential": {"name": "free", "unrestricted": true}});
    let free = cloud.post(&token, &credentials, free).await.expect(201).body["application_credential"].clone();
    let login = json!({"methods": ["application_credential"], "application_credential": {"id": free["id"], "secret": free["secret"]}});
    let free = cloud.auth(login, Value::Null).await.token();
    for less in [&signed, &free] {
        cloud.rescope(less, project("demo")).await.expect(403);
        cloud.get(less, &keys).await.expect(403);
        cloud.post(less, &keys, json!({"tenant_id": place})).await.expect(403);
        cloud.get(less, "/v3/credentials").await.expect(403);
        cloud.post(less, "/v3/credentials", json!({"credential": {"type": "cert", "blob": "x"}})).await.expect(403);
    }
    let more = json!({"application_credential": {"name": "more"}});
    cloud.post(&signed, &credentials, more.clone()).await.expect(403);
    cloud.post(&free, &credentials, more).await.expect(201);
    let trust = json!({"trust": {"trustor_user_id": user, "trustee_user_id": user, "project_id": place, "impersonation": false,
        "roles": [{"name": "reader"}]}});
    cloud.post(&signed, "/v3/OS-TRUST/trusts", trust).await.expect(403);
}

#[tokio::test]
async fn an_access_key_can_be_changed_but_not_whom_it_acts_for() {
    let cloud = Cloud::start().await;
    let (admin, token) = (cloud.admin().await, cloud.demo().await);
    let (_, place, _) = demo(&cloud, &admin).await;
    let key = |blob: &str| json!({"credential": {"type": "ec2", "project_id": place, "blob": blob}});
    let made = cloud.post(&token, "/v3/credentials", key(r#"{"access":"a","secret":"s"}"#)).await.expect(201);
    let path = format!("/v3/credentials/{}", made.body["credential"]["id"].as_str().unwrap());
    let changed = cloud.patch(&token, &path, json!({"credential": {"blob": r#"{"access":"b","secret":"t"}"#}})).await.expect(200);
    assert_eq!(changed.body["credential"]["blob"], r#"{"access":"b","secret":"t"}"#);
    for wrong in [r#"{"access":"b","secret":"t","trust_id":"x"}"#, r#"{"secret":"t"}"#, "no json"] {
        cloud.patch(&token, &path, json!({"credential": {"blob": wrong}})).await.expect(400);
    }
}

/// HMAC-SHA1 in base64.
fn signature(secret: &str, text: &str) -> String {
    use base64::Engine;
    use hmac::Mac;
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    base64::prelude::BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn rules_can_ask_for_a_second_factor() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let (user, _, _) = demo(&cloud, &admin).await;
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let credential = json!({"credential": {"type": "totp", "blob": secret, "user_id": user}});
    cloud.post(&admin, "/v3/credentials", credential).await.expect(201);
    let options = json!({"user": {"options": {"multi_factor_auth_rules": [["password", "totp"]], "multi_factor_auth_enabled": true}}});
    cloud.patch(&admin, &format!("/v3/users/{user}"), options).await.expect(200);

    let part = cloud.login("demo", "demo-secret", project("demo")).await.expect(401);
    assert_eq!(part.body["required_auth_methods"], json!([["password", "totp"]]));
    assert_eq!(part.body["receipt"]["methods"], json!(["password"]));
    let receipt = part.header("openstack-auth-receipt").to_owned();
    let code = passcode(b"12345678901234567890");
    let totp = json!({"methods": ["totp"], "totp": {"user": {"id": user, "passcode": code}}});
    let body = json!({"auth": {"identity": totp, "scope": project("demo")}});
    cloud.post("", "/v3/auth/tokens", body.clone()).await.expect(401);
    let whole = cloud.send(Method::POST, "/v3/auth/tokens", &[("openstack-auth-receipt", &receipt)], body.to_string()).await.expect(201);
    assert_eq!(whole.body["token"]["methods"], json!(["password", "totp"]));
    // v2.0 has no way to ask for more
    let old = json!({"auth": {"passwordCredentials": {"username": "demo", "password": "demo-secret"}}});
    cloud.post("", "/v2.0/tokens", old).await.expect(401);
    let wrong = json!({"methods": ["totp"], "totp": {"user": {"id": user, "passcode": "000000"}}});
    let wrong = json!({"auth": {"identity": wrong}});
    cloud.send(Method::POST, "/v3/auth/tokens", &[("openstack-auth-receipt", &receipt)], wrong.to_string()).await.expect(401);
}

/// What a device shows now.
fn passcode(secret: &[u8]) -> String {
    use hmac::Mac;
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(secret).unwrap();
    mac.update(&kit::clock::Timestamp::now().secs().div_euclid(30).to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let at = usize::from(digest[19] & 15);
    let number = u32::from_be_bytes(digest[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[tokio::test]
async fn access_rules_narrow_what_a_credential_may_call() {
    let cloud = Cloud::start().await;
    let (admin, token) = (cloud.admin().await, cloud.demo().await);
    let (user, _, _) = demo(&cloud, &admin).await;
    let all = format!("/v3/users/{user}/application_credentials");
    let rule = json!({"service": "identity", "path": "/v3/users/*", "method": "GET"});
    let body = json!({"application_credential": {"name": "narrow", "secret": "s", "access_rules": [rule]}});
    let made = cloud.post(&token, &all, body).await.expect(201).body["application_credential"].clone();
    let rule_id = made["access_rules"][0]["id"].as_str().unwrap();
    let wrong = json!({"application_credential": {"name": "wrong", "access_rules": [{"path": "/x"}]}});
    cloud.post(&token, &all, wrong).await.expect(400);

    let identity = json!({"methods": ["application_credential"], "application_credential": {"id": made["id"], "secret": "s"}});
    let narrow = cloud.auth(identity, Value::Null).await.token();
    cloud.get(&narrow, &format!("/v3/users/{user}")).await.expect(200);
    cloud.get(&narrow, &format!("/v3/users/{user}/projects")).await.expect(401);
    cloud.get(&narrow, "/v3/regions").await.expect(401);
    // services that do not know access rules do not get to know the token
    cloud.validate(&admin, &narrow).await.expect(404);
    let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", narrow.as_str()), ("openstack-identity-access-rules", "1.0")];
    let seen = cloud.send(Method::GET, "/v3/auth/tokens", &headers, "").await.expect(200);
    assert_eq!(seen.body["token"]["application_credential"]["access_rules"][0]["id"], rule_id);

    let rules = format!("/v3/users/{user}/access_rules");
    assert_eq!(cloud.get(&token, &rules).await.expect(200).body["access_rules"][0]["service"], "identity");
    cloud.delete(&token, &format!("{rules}/{rule_id}")).await.expect(403);
    cloud.delete(&token, &format!("{all}/{}", made["id"].as_str().unwrap())).await.expect(204);
    cloud.delete(&token, &format!("{rules}/{rule_id}")).await.expect(204);
    cloud.get(&token, &format!("{rules}/{rule_id}")).await.expect(404);
}
