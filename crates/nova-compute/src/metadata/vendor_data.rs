//! What the operator tells guests besides what concerns them: the same to all (`vendordata_json`), and what services of the operator's say of each
//! when they are asked (nova's `DynamicJSON`).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use kit::auth::ServiceSession;
use kit::{Error, Kind, Result};
use rpc::compute::Instance;
use sdk::{Body, Endpoint};
use serde_json::{Map, Value, json};

/// The longest answer of a service, in bytes.
const ANSWER: usize = 1 << 20;

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct VendorData {
    /// The same for all guests: `vendor_data.json`, and `static` of `vendor_data2.json`.
    pub constant: Arc<Map<String, Value>>,
    /// Those who are asked about each guest.
    pub dynamic: Option<Arc<Dynamic>>,
}

/// How they are asked, under nova's names less `vendordata_dynamic_`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name and address of each.
    pub targets: Vec<(String, String)>,
    /// The authorities that those with https have their certificates from; the host's when absent.
    pub ssl_certfile: Option<PathBuf>,
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
    /// Whether a guest is rather not built than built without an answer.
    pub failure_fatal: bool,
}

/// Services that know something of guests.
pub struct Dynamic {
    services: Vec<(String, Endpoint)>,
    session: ServiceSession,
    settings: Settings,
}

impl fmt::Debug for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dynamic").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Dynamic {
    /// They are asked in the name of the session's user, so that they know who asks.
    pub fn new(settings: Settings, session: ServiceSession) -> sdk::Result<Dynamic> {
        let open = |(name, url): &(String, String)| {
            let service = Endpoint::reached_within(settings.connect_timeout, settings.ssl_certfile.as_deref(), url)?;
            Ok((name.clone(), service))
        };
        let services = settings.targets.iter().map(open).collect::<sdk::Result<_>>()?;
        Ok(Dynamic { services, session, settings })
    }

    /// What each says of an instance, by its name. Who does not say anything sensible in time is taken to say nothing, unless that is fatal.
    pub async fn ask(&self, instance: &Instance) -> Result<Map<String, Value>> {
        let question = serde_json::to_vec(&question(instance))?;
        let answers = self.services.iter().map(async |(name, service)| match self.ask_one(service, &question).await {
            Ok(answer) => Ok((name.clone(), answer)),
            Err(error) => {
                tracing::warn!(instance = instance.id, service = name, url = service.public_url(), %error, "error from dynamic vendordata service");
                match self.settings.failure_fatal {
                    true => Err(Error::new(Kind::Internal, format!("Error from dynamic vendordata service {name}."))),
                    false => Ok((name.clone(), json!({}))),
                }
            }
        });
        join_all(answers).await.into_iter().collect()
    }

    async fn ask_one(&self, service: &Endpoint, question: &[u8]) -> sdk::Result<Value> {
        let mut answer = self.post(service, question).await?;
        if answer.0 == StatusCode::UNAUTHORIZED {
            self.session.renew().await;
            answer = self.post(service, question).await?;
        }
        let (status, bytes) = answer;
        match bytes.is_empty() {
            _ if !status.is_success() => Err(sdk::Error::silent(format!("it answers {status}"))),
            true => Ok(json!({})),
            false => serde_json::from_slice(&bytes).map_err(|error| sdk::Error::silent(format!("its answer is no JSON: {error}"))),
        }
    }

    async fn post(&self, service: &Endpoint, question: &[u8]) -> sdk::Result<(StatusCode, Vec<u8>)> {
        let nobody = |error: Error| sdk::Error::silent(format!("there is no token to ask with: {error}"));
        let mut headers = HeaderMap::new();
        let token = self.session.token().await.map_err(nobody)?;
        headers.extend(HeaderValue::from_str(&token).ok().map(|token| (http::header::HeaderName::from_static("x-auth-token"), token)));
        for (name, value) in [(CONTENT_TYPE, "application/json"), (ACCEPT, "application/json"), (USER_AGENT, "openstack-nova-vendordata")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let Settings { connect_timeout, read_timeout, .. } = self.settings;
        let sent = service.send_within(connect_timeout + read_timeout, Method::POST, "", headers, Body::from(question.to_vec()));
        let (parts, body) = sent.await?.into_parts();
        let whole = tokio::time::timeout(read_timeout, Limited::new(body, ANSWER).collect()).await;
        let whole = whole.map_err(|_| sdk::Error::silent("its answer does not end"))?;
        let whole = whole.map_err(|error| sdk::Error::silent(format!("its answer cannot be read: {error}")))?;
        Ok((parts.status, whole.to_bytes().to_vec()))
    }
}

/// What they are told of an instance.
fn question(instance: &Instance) -> Value {
    json!({
        "project-id": instance.project_id,
        "instance-id": instance.id,
        "image-id": instance.image_id.as_deref().unwrap_or_default(),
        "user-data": instance.user_data,
        "hostname": instance.hostname,
        "metadata": instance.metadata,
        "boot-roles": instance.boot_roles,
    })
}
