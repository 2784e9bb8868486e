//! A cloud's keystone in a temporary directory, and how tests speak to it.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use keystone::bootstrap::CatalogEntry;
use keystone::{Bootstrap, Config, Keystone};
use kit::db::Location;
use kit::service::Service;
use serde_json::{Value, json};

pub struct Cloud {
    pub keystone: Keystone,
    service: Service,
    _dir: tempfile::TempDir,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The answer, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// A new token's text.
    #[track_caller]
    pub fn token(self) -> String {
        self.expect(201).header("x-subject-token").to_owned()
    }
}

pub fn bootstrap() -> Bootstrap {
    let entry = |kind: &str, name: &str, url: &str| CatalogEntry { kind: kind.into(), name: name.into(), url: url.into(), admin_url: None };
    Bootstrap {
        admin_password: "secret".into(),
        demo_password: "demo-secret".into(),
        service_users: vec![("nova".into(), "nova-secret".into())],
        region: "RegionOne".into(),
        endpoints: vec![
            entry("identity", "keystone", "http://cloud:5000/v3"),
            entry("compute", "nova", "http://cloud:8774/v2.1"),
            entry("volumev3", "cinderv3", "http://cloud:8776/v3/$(project_id)s"),
        ],
    }
}

impl Cloud {
    pub async fn start() -> Cloud {
        Cloud::configured(|_| {}).await
    }

    /// One whose operator decided otherwise.
    pub async fn configured(change: impl FnOnce(&mut Config)) -> Cloud {
        Cloud::upon(async |_| {}, change).await
    }

    /// One that finds something in its database.
    pub async fn upon(fill: impl AsyncFnOnce(&Location), change: impl FnOnce(&mut Config)) -> Cloud {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            fernet_keys: dir.path().join("keys"),
            credential_keys: dir.path().join("credential-keys"),
            token_lifetime: Duration::from_secs(3600),
            public_url: "http://cloud:5000".into(),
            admin_url: "http://cloud:35357".into(),
            allow_rescope_scoped_token: true,
            security: keystone::SecurityCompliance::default(),
        };
        change(&mut config);
        // PostgreSQL when the environment names one, in a schema of this test's own
        let location = match std::env::var("CUMULO_TEST_DATABASE") {
            Ok(url) => Location::Postgres { url, schema: format!("keystone_{}", kit::ids::hex()) },
            Err(_) => Location::Sqlite(dir.path().join("keystone.sqlite")),
        };
        fill(&location).await;
        let keystone = keystone::open(&location, config).await.unwrap();
        keystone.bootstrap(&bootstrap()).await.unwrap();
        let service = keystone.service().unwrap();
        Cloud { keystone, service, _dir: dir }
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "cloud:5000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, body) = self.service.call(request.body(body.into()).unwrap()).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    /// A body that is no JSON.
    pub async fn text(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder().method(method).uri(path).header("host", "cloud:5000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = self.service.call(request.body(Body::empty()).unwrap()).await.into_body();
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    pub async fn call(&self, token: &str, method: Method, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &[("x-auth-token", token)], body).await
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.call(token, Method::GET, path, Value::Null).await
    }

    pub async fn head(&self, token: &str, path: &str) -> Answer {
        self.call(token, Method::HEAD, path, Value::Null).await
    }

    pub async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(token, Method::POST, path, body).await
    }

    pub async fn put(&self, token: &str, path: &str) -> Answer {
        self.call(token, Method::PUT, path, Value::Null).await
    }

    pub async fn patch(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(token, Method::PATCH, path, body).await
    }

    pub async fn delete(&self, token: &str, path: &str) -> Answer {
        self.call(token, Method::DELETE, path, Value::Null).await
    }

    /// A login; `scope` null for none.
    pub async fn login(&self, user: &str, password: &str, scope: Value) -> Answer {
        let domain = json!({"id": "default"});
        let identity = json!({"methods": ["password"], "password": {"user": {"name": user, "domain": domain, "password": password}}});
        self.auth(identity, scope).await
    }

    pub async fn rescope(&self, token: &str, scope: Value) -> Answer {
        self.auth(json!({"methods": ["token"], "token": {"id": token}}), scope).await
    }

    pub async fn auth(&self, identity: Value, scope: Value) -> Answer {
        let mut auth = json!({"identity": identity});
        if !scope.is_null() {
            auth["scope"] = scope;
        }
        self.post("", "/v3/auth/tokens", json!({"auth": auth})).await
    }

    /// A token of admin on project admin.
    pub async fn admin(&self) -> String {
        self.login("admin", "secret", project("admin")).await.token()
    }

    /// A token of demo, a member, on project demo.
    pub async fn demo(&self) -> String {
        self.login("demo", "demo-secret", project("demo")).await.token()
    }

    pub async fn validate(&self, token: &str, subject: &str) -> Answer {
        self.send(Method::GET, "/v3/auth/tokens", &[("x-auth-token", token), ("x-subject-token", subject)], "").await
    }

    /// The id of the one thing of this name.
    pub async fn id(&self, token: &str, plural: &str, name: &str) -> String {
        let list = self.get(token, &format!("/v3/{plural}?name={name}")).await.expect(200);
        list.body[plural][0]["id"].as_str().unwrap_or_else(|| panic!("no {name} among {plural}")).to_owned()
    }
}

pub fn project(name: &str) -> Value {
    json!({"project": {"name": name, "domain": {"id": "default"}}})
}
