//! The metadata API: what the proxy in a network's namespace asks, having found out which guest is asking.
//!
//! It believes the instance id only with a signature made from the secret that this service and the proxy share. Guests poll, so answers of
//! conductor are kept for some seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use kit::bus::Bus;
use kit::policy::{PUBLIC, Policy};
use kit::routes::Routes;
use kit::service::{FaultContext, Service, ServiceParts};
use kit::{Context, Error, Raw, Reply, Result};
use rpc::conductor::{self, GetMetadata, SavePassword};
use sha2::Sha256;

use super::{Documents, Node, VendorData};

/// How long an answer of conductor is used.
const BELIEF: Duration = Duration::from_secs(15);
/// Instances remembered at once.
const CACHE: usize = 1000;
const DEADLINE: Duration = Duration::from_secs(20);
/// The document for which others are asked.
const VENDORS: &str = "/vendor_data2.json";
/// The longest password, in bytes.
const PASSWORD: usize = 1020;

#[derive(Clone)]
struct App {
    bus: Bus,
    secret: Arc<str>,
    vendor_data: VendorData,
    known: Arc<Mutex<Known>>,
}

/// By instance: when conductor was asked, and what it said.
type Known = HashMap<String, (Instant, Arc<Documents>)>;

/// The API, to be served on an address that only the host can reach. `secret` is that of the neutron-agents' proxies.
pub fn service(bus: Bus, secret: &str, vendor_data: VendorData) -> Result<Service> {
    Service::new(ServiceParts {
        name: "nova-metadata",
        app: App { bus, secret: secret.into(), vendor_data, known: Arc::default() },
        root: Routes::new().get("/", PUBLIC, find).get("/{*path}", PUBLIC, find).post("/{*path}", PUBLIC, give),
        routes: Routes::new(),
        mounts: &[],
        project_segment: false,
        json_suffix: false,
        versions: None,
        policy: Policy::default(),
        db: None,
        authenticator: None,
        fault,
    })
}

async fn find(app: App, _ctx: Context, request: Raw) -> Result<Reply> {
    let headers = &request.parts.headers;
    let documents = app.documents_for(headers).await?;
    if request.parts.uri.path().ends_with(VENDORS) {
        documents.ask_vendors().await?;
    }
    let address = header(headers, "x-forwarded-for").map(|text| text.split(',').next().unwrap_or_default().trim());
    match documents.find(request.parts.uri.path(), address).ok_or_else(missing)? {
        Node::Listing(names) => Ok(Reply::body("text/plain; charset=UTF-8", names.join("\n"))),
        Node::Text(text) => Ok(Reply::body("text/plain; charset=UTF-8", text)),
        Node::Bytes(bytes) => Ok(Reply::body("application/octet-stream", bytes)),
        Node::Json(value) => Reply::ok(&value),
    }
}

/// `POST /openstack/{version}/password`: the guest's password, encrypted with its owner's key, which is kept until the owner clears it.
async fn give(app: App, _ctx: Context, request: Raw) -> Result<Reply> {
    let documents = app.documents_for(&request.parts.headers).await?;
    if !documents.takes_password(request.parts.uri.path()) {
        return Err(missing());
    }
    let too_large = |_| Error::bad_request("Request is too large.");
    let body = Limited::new(request.body, PASSWORD).collect().await.map_err(too_large)?.to_bytes();
    let password = String::from_utf8(body.to_vec()).map_err(|_| Error::bad_request("The password is not text."))?;
    let instance_id = documents.about.instance.id.clone();
    let kept = app.bus.call(conductor::TOPIC, SavePassword { instance_id: instance_id.clone(), password }, DEADLINE).await?;
    app.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance_id);
    match kept {
        true => Ok(Reply::body("text/plain; charset=UTF-8", "")),
        false => Err(Error::conflict("There was a conflict when trying to complete your request.")),
    }
}

impl App {
    /// Those of the guest that asks by way of the proxy.
    async fn documents_for(&self, headers: &HeaderMap) -> Result<Arc<Documents>> {
        let documents = self.documents(&signed_instance(headers, &self.secret)?).await?;
        // a port can be moved to another project's guest; the proxy saw whose it was
        match header(headers, "x-tenant-id").is_some_and(|project| project != documents.about.instance.project_id) {
            true => Err(missing()),
            false => Ok(documents),
        }
    }

    async fn documents(&self, instance_id: &str) -> Result<Arc<Documents>> {
        if let Some(documents) = self.remembered(instance_id) {
            return Ok(documents);
        }
        let ask = GetMetadata { instance_id: instance_id.to_owned(), address: None };
        let about = self.bus.call(conductor::TOPIC, ask, DEADLINE).await?.ok_or_else(missing)?;
        let documents = Arc::new(Documents::new(about, None, self.vendor_data.clone()));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CACHE {
            known.retain(|_, (at, _)| at.elapsed() < BELIEF);
            if known.len() >= CACHE {
                known.clear();
            }
        }
        known.insert(instance_id.to_owned(), (Instant::now(), documents.clone()));
        Ok(documents)
    }

    fn remembered(&self, instance_id: &str) -> Option<Arc<Documents>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, documents) = known.get(instance_id)?;
        (at.elapsed() < BELIEF).then(|| documents.clone())
    }
}

/// The instance the proxy speaks of, if it is the proxy who speaks.
fn signed_instance(headers: &HeaderMap, secret: &str) -> Result<String> {
    let forged = || Error::forbidden("Invalid proxy request signature.");
    let missing = || Error::bad_request("X-Instance-ID header is missing from request.");
    let instance_id = header(headers, "x-instance-id").ok_or_else(missing)?;
    let signature = header(headers, "x-instance-id-signature").and_then(unhex).ok_or_else(forged)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(Error::internal)?;
    mac.update(instance_id.as_bytes());
    mac.verify_slice(&signature).map_err(|_| forged())?;
    Ok(instance_id.to_owned())
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

fn missing() -> Error {
    Error::not_found("The resource could not be found.")
}

/// Guests read status and text.
fn fault(error: &Error, _context: &FaultContext<'_>) -> Reply {
    let status = if error.kind.status() == StatusCode::UNAUTHORIZED { StatusCode::FORBIDDEN } else { error.kind.status() };
    Reply::body("text/plain; charset=UTF-8", error.message.clone()).status(status)
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};
    use kit::bus::Handlers;

    use super::super::fixtures;
    use super::*;

    const ID: &str = "11111111-2222-3333-4444-555555555555";

    async fn ask(path: &str, secret: &str, project: &str) -> (u16, String) {
        send(Method::GET, path, (secret, project), String::new()).await
    }

    /// The conductor there keeps a password unless it is "again".
    async fn send(method: Method, path: &str, (secret, project): (&str, &str), body: String) -> (u16, String) {
        let bus = Bus::local();
        let about = fixtures::documents().about;
        let answer = move |_: GetMetadata| {
            let about = about.clone();
            async move { Ok(Some(about)) }
        };
        let keep = |message: SavePassword| async move { Ok(message.password != "again") };
        bus.serve(conductor::TOPIC, Handlers::new().on(answer).on(keep), 4);
        let service = service(bus, "secret", VendorData::default()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(ID.as_bytes());
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-instance-id", ID)
            .header("x-tenant-id", project)
            .header("x-instance-id-signature", signature)
            .body(sdk::Body::from(body))
            .unwrap();
        let answer = service.call(request).await;
        let status = answer.status().as_u16();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_guest_is_told_of_itself_alone() {
        assert_eq!(ask("/latest/meta-data/instance-id", "secret", "project").await, (200, "i-0000002a".into()));
        let (status, text) = ask("/openstack/latest/meta_data.json", "secret", "project").await;
        assert!(status == 200 && text.contains(ID) && !text.contains("admin_pass"), "{text}");
        assert_eq!(ask("/", "secret", "project").await.0, 200);
        assert_eq!(ask("/nothing", "secret", "project").await.0, 404);
        assert_eq!(ask("/latest/meta-data/instance-id", "guessed", "project").await.0, 403);
        assert_eq!(ask("/latest/meta-data/instance-id", "secret", "other").await.0, 404);
    }

    #[tokio::test]
    async fn a_guest_gives_its_password_once() {
        let give = async |path: &str, password: &str| send(Method::POST, path, ("secret", "project"), password.into()).await.0;
        assert_eq!(give("/openstack/2013-04-04/password", "c2VjcmV0").await, 200);
        assert_eq!(give("/openstack/latest/password", "again").await, 409);
        assert_eq!(give("/openstack/latest/password", &"x".repeat(PASSWORD + 1)).await, 400);
        assert_eq!(give("/openstack/2012-08-10/password", "c2VjcmV0").await, 404);
        assert_eq!(give("/openstack/latest/meta_data.json", "c2VjcmV0").await, 404);
    }
}
