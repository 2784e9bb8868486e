//! One API: from a request to its answer.
//!
//! The order is OpenStack's: discovery needs no token; for the rest the token is checked before anything else is said about the path;
//! then the route, the version, the policy, the handler. Errors leave in the service's own envelope, every answer with a request id.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};

use crate::answers::Answers;
use crate::auth::Authenticator;
use crate::call::{Call, Query};
use crate::clock::Timestamp;
use crate::db::Db;
use crate::microversion::{Microversion, Versions, unexpected};
use crate::policy::{ANY, PUBLIC, Policy, Target};
use crate::routes::{Routes, Table};
use crate::{Context, Error, Kind, Reply, Result, ids};

/// How a service turns an error into its envelope.
pub type Fault = fn(&Error, &FaultContext<'_>) -> Reply;

/// The header that says how the client came, when that is not plain HTTP.
pub const SCHEME: &str = "x-forwarded-proto";

/// What an envelope may depend on.
pub struct FaultContext<'a> {
    pub headers: &'a HeaderMap,
    pub request_id: &'a str,
    pub path: &'a str,
    pub version: Microversion,
}

/// An API made of parts; see the fields.
pub struct ServiceParts<S> {
    /// For the log: `nova-api`.
    pub name: &'static str,
    pub app: S,
    /// Discovery: unprefixed, without token.
    pub root: Routes<S>,
    pub routes: Routes<S>,
    /// Where `routes` begin: `/v2.1`, `/v2`; empty when they begin at the root.
    pub mounts: &'static [Mount],
    /// `/v2.1/{project_id}/servers` is `/v2.1/servers`.
    pub project_segment: bool,
    /// `/networks.json` is `/networks`.
    pub json_suffix: bool,
    pub versions: Option<Versions>,
    pub policy: Policy,
    /// Whose reads are answered from memory while nothing is written to it, where a route allows it.
    pub db: Option<Db>,
    /// Absent in keystone, which checks tokens itself.
    pub authenticator: Option<Authenticator<S>>,
    pub fault: Fault,
}

/// A prefix under which the routes are found.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    pub prefix: &'static str,
    /// Whether unknown fields are refused here.
    pub strict: bool,
}

struct Inner<S> {
    name: &'static str,
    app: S,
    root: Table<S>,
    table: Table<S>,
    mounts: &'static [Mount],
    project_segment: bool,
    json_suffix: bool,
    versions: Option<Versions>,
    policy: CurrentPolicy,
    answers: Option<Answers>,
    authenticator: Option<Authenticator<S>>,
    fault: Fault,
}

/// The rules in force, which an operator may change meanwhile.
type CurrentPolicy = Arc<RwLock<Arc<Policy>>>;

type Answering = Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// An API that answers requests: what a socket serves and what other services call in process.
#[derive(Clone)]
pub struct Service {
    answer: Answering,
    defaults: Arc<Policy>,
    policy: CurrentPolicy,
}

impl Service {
    pub fn new<S: Clone + Send + Sync + 'static>(parts: ServiceParts<S>) -> Result<Service> {
        let defaults = Arc::new(parts.policy);
        let policy = Arc::new(RwLock::new(defaults.clone()));
        let inner = Arc::new(Inner {
            name: parts.name,
            app: parts.app,
            root: Table::new(parts.root)?,
            table: Table::new(parts.routes)?,
            mounts: parts.mounts,
            project_segment: parts.project_segment,
            json_suffix: parts.json_suffix,
            versions: parts.versions,
            policy: policy.clone(),
            answers: parts.db.map(Answers::new),
            authenticator: parts.authenticator,
            fault: parts.fault,
        });
        Ok(Service { answer: Arc::new(move |request| Box::pin(handle(inner.clone(), request))), defaults, policy })
    }

    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        (self.answer)(request).await
    }

    /// Puts an operator's rules over the service's own, in place of those put there before. Wrong ones change nothing.
    pub fn override_policy(&self, yaml: &str) -> Result<()> {
        let policy = Arc::new(self.defaults.overridden(yaml)?);
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
        Ok(())
    }
}

impl sdk::LocalService for Service {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        (self.answer)(request)
    }
}

async fn handle<S: Clone + Send + Sync + 'static>(inner: Arc<Inner<S>>, request: Request<Body>) -> Response<Body> {
    let began = Instant::now();
    let request_id: Arc<str> = ids::request().into();
    let (parts, body) = request.into_parts();
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let headers = parts.headers.clone();
    let mut version = Microversion::NONE;
    let answer = answer(&inner, &request_id, parts, body, &mut version);
    // A panic in a handler is a bug, but one request's, not everybody's.
    let result =
        std::panic::AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| Err(Error::internal("a handler panicked").into()));
    let mut response = match result {
        Ok(reply) => reply.0,
        Err(refusal) => {
            let Refusal { error, allow } = refusal;
            if let Some(source) = &error.source {
                tracing::error!(%request_id, %method, path = uri.path(), error = %error, source = %source, "failed");
            }
            let context = FaultContext { headers: &headers, request_id: &request_id, path: uri.path(), version };
            let mut reply = (inner.fault)(&error, &context);
            if error.kind == Kind::Unauthorized
                && let Some(uri) = inner.authenticator.as_ref().map(Authenticator::challenge)
            {
                reply = reply.header("www-authenticate", &uri);
            }
            if let Some(allow) = allow {
                reply = reply.header("allow", &allow);
            }
            reply.0
        }
    };
    finish(&inner, &mut response, &request_id, version, &method);
    let (status, millis) = (response.status().as_u16(), began.elapsed().as_micros() as f64 / 1000.0);
    tracing::info!(api = inner.name, %request_id, %method, path = %uri, status, millis);
    response
}

/// An error, with the `Allow` header of a 405.
struct Refusal {
    error: Error,
    allow: Option<String>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { error, allow: None }
    }
}

async fn answer<S: Clone + Send + Sync + 'static>(
    inner: &Arc<Inner<S>>,
    request_id: &Arc<str>,
    parts: Parts,
    body: Body,
    version: &mut Microversion,
) -> Result<Reply, Refusal> {
    let refuse = |(error, allow): (Error, String)| Refusal { error, allow: Some(allow).filter(|a| !a.is_empty()) };
    let path = tidy(parts.uri.path());
    let mut ctx = Context {
        request_id: request_id.clone(),
        identity: None,
        token: Arc::from(header_text(&parts, "x-auth-token").unwrap_or_default()),
        service: None,
        version: Microversion::NONE,
        arrived: Timestamp::now(),
        identified: Timestamp::default(),
        strict: true,
        base_url: base_url(&parts.headers).into(),
        prefix: "".into(),
        rule: PUBLIC,
        policy: inner.policy.read().unwrap_or_else(PoisonError::into_inner).clone(),
    };
    if let Some(found) = inner.root.find(path) {
        let row = found.row(&parts.method, Microversion::NONE).map_err(refuse)?;
        let call = Call { app: inner.app.clone(), ctx, params: found.params, parts, body: Some(body), limit: row.limit };
        return Ok((row.handler)(call).await?);
    }
    let mounted = mounted(inner.mounts, path);
    let (mount, rest) = mounted.unwrap_or((Mount { prefix: "", strict: true }, path));
    let rest = if inner.json_suffix { rest.strip_suffix(".json").unwrap_or(rest) } else { rest };
    // a table may have routes without a token, so it is looked at first; unless it is no secret, nothing is said before the token is checked
    let found = inner.table.find(rest);
    let row = found.as_ref().map(|found| found.row(&parts.method, Microversion::NONE));
    let public = matches!(&row, Some(Ok(row)) if row.rule == PUBLIC);
    let apart = matches!(&row, Some(Ok(row)) if row.apart);
    if let Some(unmounted) = inner.table.unmounted.filter(|_| mounted.is_none() && !apart) {
        return Ok(unmounted(&FaultContext { headers: &parts.headers, request_id, path: parts.uri.path(), version: *version }));
    }
    if let Some(nowhere) = inner.table.nowhere {
        match row.filter(|_| mounted.is_some()) {
            None => return Ok(nowhere()),
            Some(Err(other)) => return Err(refuse(other)),
            Some(Ok(_)) => {}
        }
    }
    if let Some(authenticator) = &inner.authenticator
        && !public
    {
        if let Some(token) = header_text(&parts, "x-service-token") {
            ctx.service = authenticator.identify(&inner.app, token).await.ok();
        }
        // work that a service does for a user goes on when the user's token has ended meanwhile
        let vouched = ctx.service.as_deref().filter(|service| service.has_role("service")).and(header_text(&parts, "x-service-token"));
        let identity = authenticator.identify_for(&inner.app, &ctx.token, vouched).await?;
        let narrow = identity.access_rules.as_deref().filter(|_| vouched.is_none());
        if narrow.is_some_and(|rules| !rules.iter().any(|rule| rule.allows(service_types(inner.name), parts.method.as_str(), path))) {
            return Err(Error::unauthorized().into());
        }
        ctx.identity = Some(identity);
        ctx.identified = Timestamp::now();
    }
    let (segment, rest) = split_project(inner, rest);
    let named = !inner.table.exact || rest == "/" || path.len() == parts.uri.path().len();
    let found = inner.table.find(rest).filter(|_| named).ok_or_else(|| Error::not_found("The resource could not be found."))?;
    if let (Some(segment), Some(identity)) = (segment, ctx.identity.as_deref()) {
        let own = identity.project.as_ref().is_some_and(|p| p.id == segment);
        if !own && !identity.has_role("service") {
            return Err(Error::bad_request("Malformed request url").into());
        }
    }
    ctx.strict = mount.strict;
    ctx.prefix = segment.map_or_else(|| mount.prefix.to_owned(), |segment| format!("{}/{segment}", mount.prefix)).into();
    if let Some(versions) = &inner.versions {
        // an older generation of the API has no microversions: it speaks the first
        *version = if mount.strict { versions.negotiate(&parts.headers)? } else { versions.min };
        ctx.version = *version;
    }
    let row = found.row(&parts.method, *version).map_err(refuse)?;
    ctx.rule = row.rule;
    if !row.deferred {
        authorize(&ctx, row.rule)?;
    }
    if !row.queried && inner.table.bare_since.is_some_and(|since| *version >= since) {
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        unexpected(&query.0.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>())?;
    }
    let question =
        inner.answers.as_ref().zip(row.kept).and_then(|(answers, headers)| Some((answers, answers.question(&ctx, &parts, headers)?)));
    if let Some((answers, question)) = &question
        && let Some(reply) = answers.find(question)
    {
        return Ok(reply);
    }
    let call = Call { app: inner.app.clone(), ctx, params: found.params, parts, body: Some(body), limit: row.limit };
    let reply = (row.handler)(call).await?;
    match question {
        Some((answers, question)) => Ok(answers.keep(question, reply).await?),
        None => Ok(reply),
    }
}

/// Checks a row's rule against what any row can know: the caller acts in the caller's own project. Handlers that act on something of
/// another project ask again with its owner.
fn authorize(ctx: &Context, rule: &'static str) -> Result<()> {
    if rule == PUBLIC || rule == ANY {
        return Ok(());
    }
    let identity = ctx.identity()?;
    let mut target = Target::new().with("user_id", &identity.user.id);
    if let Some(project) = &identity.project {
        target = target.with("project_id", &project.id);
    }
    if let Some(domain) = &identity.domain {
        target = target.with("domain_id", &domain.id);
    }
    ctx.enforce(rule, &target)
}

/// What a service is called in the catalog, and thereby in access rules.
fn service_types(name: &str) -> &'static [&'static str] {
    match name.split('-').next().unwrap_or_default() {
        "keystone" => &["identity"],
        "nova" => &["compute"],
        "glance" => &["image"],
        "neutron" => &["network"],
        "cinder" => &["block-storage", "volumev3", "volumev2", "volume"],
        "placement" => &["placement"],
        _ => &[],
    }
}

/// A path without its trailing slash.
fn tidy(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(shorter) => shorter,
    }
}

fn mounted<'p>(mounts: &[Mount], path: &'p str) -> Option<(Mount, &'p str)> {
    mounts.iter().find_map(|mount| {
        let rest = path.strip_prefix(mount.prefix)?;
        let rest = if rest.is_empty() { "/" } else { rest };
        rest.starts_with('/').then_some((*mount, rest))
    })
}

/// Splits off a project segment where the API has one and the path does not begin with a word of the table.
fn split_project<'p, S>(inner: &Inner<S>, path: &'p str) -> (Option<&'p str>, &'p str) {
    let trimmed = path.trim_start_matches('/');
    let (first, _) = trimmed.split_once('/').unwrap_or((trimmed, ""));
    if !inner.project_segment || first.is_empty() || inner.table.begins_with(first) {
        return (None, path);
    }
    match path.get(first.len() + 1..) {
        Some(rest) if rest.starts_with('/') => (Some(first), rest),
        _ => (Some(first), "/"),
    }
}

fn header_text<'p>(parts: &'p Parts, name: &str) -> Option<&'p str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok())
}

/// The address the client used, so that links lead back the same way.
pub fn base_url(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = text(SCHEME).unwrap_or("http");
    let host = text("x-forwarded-host").or_else(|| text("host")).unwrap_or("localhost");
    format!("{scheme}://{host}")
}

fn finish<S>(inner: &Inner<S>, response: &mut Response<Body>, request_id: &str, version: Microversion, method: &Method) {
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-openstack-request-id", request_id);
    if inner.versions.is_some_and(|versions| versions.compute_request_id) {
        set("x-compute-request-id", request_id);
    }
    if let Some(versions) = &inner.versions
        && version != Microversion::NONE
    {
        set("openstack-api-version", &format!("{} {version}", versions.service));
        let mut vary = "OpenStack-API-Version".to_owned();
        if let Some(legacy) = versions.legacy_header {
            set(legacy, &version.to_string());
            vary = format!("{vary}, X-OpenStack-Nova-API-Version");
        }
        set("vary", &vary);
    }
    // an answer depends on who asks
    response.headers_mut().entry(header::VARY).or_insert(HeaderValue::from_static("X-Auth-Token"));
    if *method == Method::HEAD {
        *response.body_mut() = Body::empty();
    } else if response.status() == http::StatusCode::NO_CONTENT {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
}
