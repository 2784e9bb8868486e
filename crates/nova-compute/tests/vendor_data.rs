//! What services of the operator's say of a guest, in the metadata service and on a config drive: asked as nova asks them, and none of them can
//! keep a guest waiting, fill its host's memory, or be believed when it talks nonsense.

#![allow(clippy::unwrap_used)]

mod neighbours;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use hmac::{Hmac, Mac};
use http::{Request, Response};
use http_body_util::BodyExt;
use kit::auth::ServiceSession;
use kit::bus::{Bus, Handlers};
use neighbours::{ID, instance};
use nova_compute::metadata::service::service;
use nova_compute::metadata::vendor_data::{Dynamic, Settings};
use nova_compute::metadata::{Documents, VendorData};
use rpc::compute::InstanceMetadata;
use rpc::conductor::{self, GetMetadata};
use sdk::{Body, Endpoint, LocalService};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What was asked: head and body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A keystone that gives one token after another.
struct Keystone(Mutex<u32>);

impl LocalService for Keystone {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let mut given = self.0.lock().unwrap();
        *given += 1;
        let answer = Response::builder().status(201).header("x-subject-token", format!("token-{given}"));
        let answer = answer.body(Body::from(json!({"token": {}}).to_string())).unwrap();
        Box::pin(async { answer })
    }
}

/// A server that answers by the path it is asked at. Answers where it is.
async fn server(asked: Asked) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket, asked.clone()));
        }
    });
    url
}

async fn answer(mut socket: TcpStream, asked: Asked) {
    let (mut read, mut some) = (Vec::new(), [0; 4096]);
    let (head, body) = loop {
        let length = socket.read(&mut some).await.unwrap_or_default();
        read.extend_from_slice(&some[..length]);
        let text = String::from_utf8_lossy(&read).into_owned();
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if serde_json::from_str::<Value>(body).is_ok() => {
                break (head.to_owned(), serde_json::from_str(body).unwrap());
            }
            _ if length == 0 => return,
            _ => {}
        }
    };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let expired = path == "/expired" && head.contains("x-auth-token: token-1");
    asked.lock().unwrap().push((head, body));
    let said = |status: &str, body: &str| format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let text = match path.as_str() {
        _ if expired => said("401 Unauthorized", "{}"),
        "/good" | "/expired" => said("200 OK", "{\"rack\": 7}"),
        "/list/" => said("200 OK", "[1, 2]"),
        "/nothing" => said("200 OK", ""),
        "/error" => said("500 Internal Server Error", "{\"rack\": 8}"),
        "/moved" => "HTTP/1.1 302 Found\r\nlocation: /good\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into(),
        "/text" => said("200 OK", "<html>"),
        "/large" => said("200 OK", &format!("\"{}\"", "x".repeat(2 << 20))),
        "/endless" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".into(),
        _ => String::new(),
    };
    let _ = socket.write_all(text.as_bytes()).await;
    if ["/slow", "/endless"].contains(&path.as_str()) {
        std::future::pending::<()>().await;
    }
}

fn vendors(url: &str, paths: &[&str], failure_fatal: bool) -> VendorData {
    let targets = paths.iter().map(|path| (path.trim_matches('/').to_owned(), format!("{url}{path}"))).collect();
    let keystone = Endpoint::local(Arc::new(Keystone(Mutex::new(0))), "http://keystone");
    let settings = Settings {
        targets,
        ssl_certfile: None,
        connect_timeout: Duration::from_millis(500),
        read_timeout: Duration::from_millis(500),
        failure_fatal,
    };
    let dynamic = Dynamic::new(settings, ServiceSession::new(keystone, "nova", "password")).unwrap();
    VendorData { constant: Map::from_iter([("ntp".to_owned(), json!("10.0.0.3"))]).into(), dynamic: Some(Arc::new(dynamic)) }
}

fn about() -> InstanceMetadata {
    let mut instance = instance();
    instance.boot_roles = "member,reader".into();
    instance.user_data = Some("IyEvYmluL3No".into());
    instance.metadata = BTreeMap::from([("role".into(), "web".into())]);
    InstanceMetadata { instance, availability_zone: "nova".into(), floating_ips: BTreeMap::new(), password: None }
}

/// The metadata service's answer to the guest, and how often it has to be asked for it.
async fn told(vendor_data: VendorData, times: usize) -> (u16, Value) {
    let bus = Bus::local();
    bus.serve(conductor::TOPIC, Handlers::new().on(|_: GetMetadata| async { Ok(Some(about())) }), 4);
    let service = service(bus, "secret", vendor_data).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"secret").unwrap();
    mac.update(ID.as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut answered = (0, Value::Null);
    for _ in 0..times {
        let request = Request::get("/openstack/latest/vendor_data2.json").header("x-instance-id", ID);
        let request = request.header("x-instance-id-signature", &signature).body(Body::empty()).unwrap();
        let answer = service.call(request).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        answered = (status, serde_json::from_slice(&body).unwrap_or(Value::Null));
    }
    answered
}

#[tokio::test]
async fn services_are_asked_as_nova_asks_them() {
    let asked = Asked::default();
    let url = server(asked.clone()).await;
    let expected = json!({"static": {"ntp": "10.0.0.3"}, "good": {"rack": 7}, "list": [1, 2], "nothing": {}});
    assert_eq!(told(vendors(&url, &["/good", "/list/", "/nothing"], true), 3).await, (200, expected));
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 3, "a guest that asks again is told the same");
    let (head, body) = asked.iter().find(|(head, _)| head.starts_with("POST /good HTTP/1.1")).unwrap();
    for header in
        ["content-type: application/json", "accept: application/json", "user-agent: openstack-nova-vendordata", "x-auth-token: token-"]
    {
        assert!(head.contains(header), "{header} in {head}");
    }
    let expected = json!({
        "project-id": "project", "instance-id": ID, "image-id": "image", "user-data": "IyEvYmluL3No",
        "hostname": about().instance.hostname, "metadata": {"role": "web"}, "boot-roles": "member,reader",
    });
    assert_eq!(*body, expected);
}

#[tokio::test]
async fn a_token_that_ended_is_renewed() {
    let asked = Asked::default();
    let url = server(asked.clone()).await;
    assert_eq!(told(vendors(&url, &["/expired"], true), 1).await.1["expired"], json!({"rack": 7}));
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn who_fails_says_nothing_and_keeps_nobody_waiting() {
    let url = server(Asked::default()).await;
    let bad = ["/slow", "/endless", "/error", "/moved", "/text", "/large", "/closed"];
    let began = Instant::now();
    let (status, told) = told(vendors(&url, &[&bad[..], &["/good"]].concat(), false), 1).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((status, &told["good"], &told["static"]["ntp"]), (200, &json!({"rack": 7}), &json!("10.0.0.3")));
    for path in bad {
        assert_eq!(told[path.trim_start_matches('/')], json!({}), "{path}");
    }
    // nobody listens there
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap());
    assert_eq!(self::told(vendors(&nobody, &["/good"], false), 1).await.1["good"], json!({}));
}

#[tokio::test]
async fn a_failure_may_be_fatal() {
    let url = server(Asked::default()).await;
    for path in ["/slow", "/error", "/text", "/large"] {
        assert_eq!(told(vendors(&url, &[path], true), 1).await.0, 500, "{path}");
        let documents = Documents::new(about(), None, vendors(&url, &[path], true));
        let error = documents.ask_vendors().await.unwrap_err();
        assert_eq!(error.message, format!("Error from dynamic vendordata service {}.", &path[1..]));
    }
}

#[tokio::test]
async fn the_config_drive_tells_the_same() {
    let url = server(Asked::default()).await;
    let documents = Documents::new(about(), None, vendors(&url, &["/good"], true));
    documents.ask_vendors().await.unwrap();
    let files = documents.drive().unwrap();
    for version in ["2016-10-06", "latest"] {
        let told: Value = serde_json::from_slice(&files[&format!("openstack/{version}/vendor_data2.json")]).unwrap();
        assert_eq!(told, json!({"static": {"ntp": "10.0.0.3"}, "good": {"rack": 7}}));
    }
    let same: Value = serde_json::from_slice(&files["openstack/latest/vendor_data.json"]).unwrap();
    assert_eq!(same, json!({"ntp": "10.0.0.3"}));
}
