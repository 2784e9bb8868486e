//! OS-OAUTH1: a program is granted some of a user's roles, logs in with them, and loses them again.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use http::Method;
use serde_json::{Value, json};

use crate::common::{Answer, Cloud, project};

/// A key and its secret.
type Pair = (String, String);

fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The header of a POST that is signed by a consumer and perhaps a token.
fn signed(path: &str, consumer: &Pair, token: Option<&Pair>, more: &[(&str, &str)]) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    let mut parameters: BTreeMap<&str, &str> = more.iter().copied().collect();
    parameters.extend([("oauth_consumer_key", consumer.0.as_str()), ("oauth_timestamp", &now), ("oauth_nonce", "n")]);
    parameters.extend([("oauth_signature_method", "HMAC-SHA1"), ("oauth_version", "1.0")]);
    parameters.extend(token.map(|token| ("oauth_token", token.0.as_str())));
    let list: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    let base = format!("POST&{}&{}", quoted(&format!("http://cloud:5000{path}")), quoted(&list.join("&")));
    let key = format!("{}&{}", consumer.1, token.map(|token| token.1.as_str()).unwrap_or_default());
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(base.as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    parameters.insert("oauth_signature", &signature);
    let list: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}=\"{}\"", quoted(value))).collect();
    format!("OAuth {}", list.join(", "))
}

async fn post(cloud: &Cloud, path: &str, header: &str, more: &[(&str, &str)], body: &Value) -> (u16, Answer) {
    let mut headers = vec![("authorization", header)];
    headers.extend(more);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = cloud.send(Method::POST, path, &headers, body).await;
    (answer.status, answer)
}

/// The key and secret of an answer that is a form.
async fn pair(cloud: &Cloud, path: &str, header: &str, more: &[(&str, &str)]) -> Pair {
    let text = cloud.text(Method::POST, path, &[&[("authorization", header)], more].concat()).await;
    let field = |name: &str| text.split('&').find_map(|part| part.strip_prefix(&format!("{name}="))).unwrap_or_else(|| panic!("{text}"));
    (field("oauth_token").to_owned(), field("oauth_token_secret").to_owned())
}

#[tokio::test]
async fn a_program_is_granted_roles_and_loses_them() {
    let cloud = Cloud::start().await;
    let admin = cloud.admin().await;
    let (user, place) = (cloud.id(&admin, "users", "admin").await, cloud.id(&admin, "projects", "admin").await);
    let made = cloud.post(&admin, "/v3/OS-OAUTH1/consumers", json!({"consumer": {"description": "a program"}})).await.expect(201);
    let text = |key: &str| made.body["consumer"][key].as_str().unwrap().to_owned();
    let consumer = (text("id"), text("secret"));

    let path = "/v3/OS-OAUTH1/request_token";
    let header = signed(path, &consumer, None, &[("oauth_callback", "oob")]);
    let wanted = [("requested-project-id", place.as_str())];
    assert_eq!(post(&cloud, path, &header, &[], &Value::Null).await.0, 400);
    assert_eq!(post(&cloud, path, "", &wanted, &Value::Null).await.0, 400);
    let forged = signed(path, &(consumer.0.clone(), "guess".into()), None, &[("oauth_callback", "oob")]);
    assert_eq!(post(&cloud, path, &forged, &wanted, &Value::Null).await.0, 401);
    let request = pair(&cloud, path, &header, &wanted).await;

    let grant = format!("/v3/OS-OAUTH1/authorize/{}", request.0);
    let roles = |name: &str| json!({"roles": [{"name": name}]});
    cloud.call(&admin, Method::PUT, &grant, json!({"roles": []})).await.expect(400);
    cloud.call(&admin, Method::PUT, &grant, roles("service")).await.expect(401);
    cloud.call(&cloud.demo().await, Method::PUT, &grant, roles("member")).await.expect(403);
    let granted = cloud.call(&admin, Method::PUT, &grant, roles("admin")).await.expect(200);
    let verifier = granted.body["token"]["oauth_verifier"].as_str().unwrap().to_owned();

    let path = "/v3/OS-OAUTH1/access_token";
    let wrong = signed(path, &consumer, Some(&request), &[("oauth_verifier", "00000000")]);
    assert_eq!(post(&cloud, path, &wrong, &[], &Value::Null).await.0, 401);
    let header = signed(path, &consumer, Some(&request), &[("oauth_verifier", &verifier)]);
    let access = pair(&cloud, path, &header, &[]).await;
    assert_eq!(post(&cloud, path, &header, &[], &Value::Null).await.0, 401, "only once");

    let path = "/v3/auth/tokens";
    let login = json!({"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}});
    let (status, answer) = post(&cloud, path, &signed(path, &consumer, Some(&access), &[]), &[], &login).await;
    assert_eq!(status, 201, "{}", answer.body);
    let token = answer.header("x-subject-token").to_owned();
    let body = &answer.body["token"];
    assert_eq!((&body["user"]["id"], &body["project"]["id"], &body["methods"]), (&json!(user), &json!(place), &json!(["oauth1"])));
    assert_eq!(body["OS-OAUTH1"], json!({"access_token_id": access.0, "consumer_id": consumer.0}));
    cloud.rescope(&token, project("admin")).await.expect(403);
    cloud.call(&token, Method::PUT, &grant, roles("admin")).await.expect(403);

    let all = format!("/v3/users/{user}/OS-OAUTH1/access_tokens");
    assert_eq!(cloud.get(&admin, &all).await.expect(200).body["access_tokens"][0]["id"], access.0);
    let shown = cloud.get(&admin, &format!("{all}/{}", access.0)).await.expect(200);
    assert_eq!(shown.body["access_token"]["consumer_id"], consumer.0);
    assert_eq!(cloud.get(&admin, &format!("{all}/{}/roles", access.0)).await.expect(200).body["roles"][0]["name"], "admin");
    cloud.get(&admin, &format!("{all}/{}/roles/missing", access.0)).await.expect(404);
    cloud.delete(&admin, &format!("{all}/{}", access.0)).await.expect(204);
    cloud.get(&admin, &format!("{all}/{}", access.0)).await.expect(404);
    cloud.validate(&admin, &token).await.expect(404);
    assert_eq!(post(&cloud, path, &signed(path, &consumer, Some(&access), &[]), &[], &login).await.0, 401);
}
