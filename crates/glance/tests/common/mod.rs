//! A glance in process, with made-up identities: a token is `project:role,role`.

#![allow(dead_code, clippy::unwrap_used)]

use axum::body::Body;
use bytes::Bytes;
use glance::{Config, Glance};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kit::auth::Authenticator;
use kit::context::{Identity, Named};
use kit::db::Location;
use kit::service::Service;
use serde_json::{Value, json};

pub const ALICE: &str = "alice:member,reader";
pub const BOB: &str = "bob:member,reader";
pub const ADMIN: &str = "admin:admin,member,reader";

pub struct Cloud {
    pub dir: tempfile::TempDir,
    pub glance: Glance,
    pub service: Service,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.bytes)))
    }
}

pub async fn cloud() -> Cloud {
    open(tempfile::tempdir().unwrap()).await
}

pub async fn open(dir: tempfile::TempDir) -> Cloud {
    open_with(dir, |_| {}).await
}

/// A glance with other settings.
pub async fn open_with(dir: tempfile::TempDir, set: impl FnOnce(&mut Config)) -> Cloud {
    // the same directory finds the same database again
    let space = dir.path().file_name().unwrap().to_string_lossy().replace('.', "_").to_lowercase();
    let database = match std::env::var("CUMULO_TEST_DATABASE") {
        Ok(url) => Location::Postgres { url, schema: format!("glance_{space}_{}", std::process::id()) },
        Err(_) => Location::Sqlite(dir.path().join("glance.sqlite")),
    };
    let mut config = Config::new(database, dir.path().join("images"));
    config.image_size_cap = 600 << 20;
    set(&mut config);
    let glance = glance::open(config).await.unwrap();
    let service = service(&glance);
    Cloud { dir, glance, service }
}

fn service(glance: &Glance) -> Service {
    let who = |_: Glance, token: String| -> futures::future::BoxFuture<'static, kit::Result<Identity>> {
        Box::pin(async move {
            let (project, roles) = token.split_once(':').ok_or_else(kit::Error::unauthorized)?;
            Ok(Identity {
                project: Some(Named { id: project.into(), name: project.into(), domain_id: "default".into() }),
                roles: roles.split(',').map(str::to_owned).collect(),
                expires_at: i64::MAX,
                ..Identity::default()
            })
        })
    };
    glance.service(Authenticator::own(who, "http://keystone:5000")).unwrap()
}

impl Cloud {
    /// The same cloud, in which other regions are known.
    pub fn among(self, regions: glance::Regions) -> Cloud {
        let glance = self.glance.among(regions);
        Cloud { service: service(&glance), glance, ..self }
    }

    /// The same cloud, where keystone says what projects may have.
    pub fn limited_by(self, unified: glance::Unified) -> Cloud {
        let glance = self.glance.limited_by(unified);
        Cloud { service: service(&glance), glance, ..self }
    }

    /// The same cloud, where what brings bytes can be made to fail.
    pub fn probed(self, probe: kit::flow::ProbeFn) -> Cloud {
        let glance = self.glance.probed(probe);
        Cloud { service: service(&glance), glance, ..self }
    }

    pub async fn raw(&self, who: &str, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).header("x-auth-token", who);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.service.call(request.body(body).unwrap()).await
    }

    pub async fn ask(&self, who: &str, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let (parts, body) = self.raw(who, method, path, headers, body).await.into_parts();
        Answer { status: parts.status, headers: parts.headers, bytes: body.collect().await.unwrap().to_bytes() }
    }

    pub async fn get(&self, who: &str, path: &str) -> Answer {
        self.ask(who, "GET", path, &[("accept", "application/json")], Body::empty()).await
    }

    pub async fn send(&self, who: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.ask(who, method, path, &[("content-type", "application/json")], Body::from(body.to_string())).await
    }

    pub async fn patch(&self, who: &str, id: &str, body: Value) -> Answer {
        let media = [("content-type", "application/openstack-images-v2.1-json-patch")];
        self.ask(who, "PATCH", &format!("/v2/images/{id}"), &media, Body::from(body.to_string())).await
    }

    pub async fn create(&self, who: &str, body: Value) -> String {
        let answer = self.send(who, "POST", "/v2/images", &body).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.bytes));
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Waits until an image is in a state.
    pub async fn until(&self, id: &str, status: &str) {
        for _ in 0..500 {
            if self.status(id).await == status {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{id} is {}, not {status}", self.status(id).await);
    }

    pub async fn raw_image(&self, who: &str, name: &str) -> String {
        self.create(who, json!({"name": name, "disk_format": "raw", "container_format": "bare"})).await
    }

    pub async fn upload(&self, who: &str, id: &str, body: Body) -> Answer {
        let media = [("content-type", "application/octet-stream")];
        self.ask(who, "PUT", &format!("/v2/images/{id}/file"), &media, body).await
    }

    pub async fn status(&self, id: &str) -> String {
        self.get(ADMIN, &format!("/v2/images/{id}")).await.json()["status"].as_str().unwrap().to_owned()
    }

    pub async fn names(&self, who: &str, query: &str) -> Vec<String> {
        let answer = self.get(who, &format!("/v2/images?{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        answer.json()["images"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn files(&self) -> usize {
        let dirs = ["images", "images/incoming/glance", "images/staging"];
        let files =
            |dir: &str| std::fs::read_dir(self.dir.path().join(dir)).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count();
        dirs.iter().map(|dir| files(dir)).sum()
    }
}
