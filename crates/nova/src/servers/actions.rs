//! `POST /servers/{id}/action`: one key says what to do. This table is the index of what there is.

use futures::future::BoxFuture;
use kit::microversion::Microversion;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Reply, Result};
use serde_json::{Map, Value};

use super::instance::Model;
use super::{console, delete, floating_ips, lock, power, reset_state, security_groups, store};
use crate::Nova;

/// What an action is given.
pub struct Action {
    pub app: Nova,
    pub ctx: Context,
    pub server: Model,
    /// What stands behind the key.
    pub body: Value,
}

type Handler = fn(Action) -> BoxFuture<'static, Result<Reply>>;

/// One action: key, policy rule, handler, versions.
struct Row {
    key: &'static str,
    rule: &'static str,
    handler: Handler,
    until: Microversion,
}

const fn row(key: &'static str, rule: &'static str, handler: Handler) -> Row {
    Row { key, rule, handler, until: Microversion::MAX }
}

const fn row_until(key: &'static str, rule: &'static str, handler: Handler, until: Microversion) -> Row {
    Row { key, rule, handler, until }
}

const ACTIONS: &[Row] = &[
    row("os-start", "os_compute_api:servers:start", |a| Box::pin(power::start(a))),
    row("os-stop", "os_compute_api:servers:stop", |a| Box::pin(power::stop(a))),
    row("reboot", "os_compute_api:servers:reboot", |a| Box::pin(power::reboot(a))),
    row("os-getConsoleOutput", "os_compute_api:os-console-output", |a| Box::pin(console::output(a))),
    row("os-resetState", "os_compute_api:os-admin-actions:reset_state", |a| Box::pin(reset_state::reset_state(a))),
    row("lock", "os_compute_api:os-lock-server:lock", |a| Box::pin(lock::lock(a))),
    row("unlock", "os_compute_api:os-lock-server:unlock", |a| Box::pin(lock::unlock(a))),
    row("forceDelete", "os_compute_api:servers:delete", |a| Box::pin(force_delete(a))),
    row("addSecurityGroup", "os_compute_api:os-security-groups:add", |a| Box::pin(security_groups::add(a))),
    row("removeSecurityGroup", "os_compute_api:os-security-groups:remove", |a| Box::pin(security_groups::remove(a))),
    row_until("addFloatingIp", "os_compute_api:os-floating-ips:add", |a| Box::pin(floating_ips::add(a)), Microversion(2, 43)),
    row_until("removeFloatingIp", "os_compute_api:os-floating-ips:remove", |a| Box::pin(floating_ips::remove(a)), Microversion(2, 43)),
];

/// `POST /servers/{id}/action`
pub async fn act(app: Nova, ctx: Context, id: Path<String>, body: Json<Map<String, Value>>) -> Result<Reply> {
    let mut entries = body.0.into_iter();
    let (Some((key, body)), None) = (entries.next(), entries.next()) else {
        return Err(Error::bad_request(
            "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        ));
    };
    let row = ACTIONS.iter().find(|row| row.key == key);
    let row = row.ok_or_else(|| Error::bad_request(format!("There is no such action: {key}")))?;
    if ctx.version > row.until {
        return Err(Error::not_found("The resource could not be found."));
    }
    let server = store::fetch(&app, &ctx, &id.0).await?;
    ctx.enforce(row.rule, &Target::project(&server.project_id).with("user_id", &server.user_id))?;
    (row.handler)(Action { app, ctx, server, body }).await
}

async fn force_delete(action: Action) -> Result<Reply> {
    action.no_body()?;
    delete::begin(&action.app, &action.ctx, action.server, "forceDelete").await?;
    Ok(accepted())
}

/// 202 and nothing else.
pub fn accepted() -> Reply {
    Reply::empty(http::StatusCode::ACCEPTED)
}

impl Action {
    /// The body is null (the older API took anything).
    pub fn no_body(&self) -> Result<()> {
        match &self.body {
            Value::Null => Ok(()),
            _ if !self.ctx.strict => Ok(()),
            other => Err(Error::bad_request(format!("Invalid input for field/attribute. Value: {other}. {other} is not of type 'null'"))),
        }
    }

    /// A text of the body.
    pub fn text(&self, field: &'static str) -> Result<&str> {
        let text = self.body.get(field).and_then(Value::as_str).filter(|t| !t.is_empty());
        text.ok_or_else(|| Error::bad_request(format!("Invalid input for field/attribute. '{field}' is a required property")))
    }

    /// Fields of the body, and no others.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        let Some(object) = self.body.as_object() else {
            return Err(Error::bad_request(format!("Invalid input: {} is not of type 'object'", self.body)));
        };
        if !self.ctx.strict {
            return Ok(());
        }
        kit::microversion::unexpected(&object.keys().map(String::as_str).filter(|k| !known.contains(k)).collect::<Vec<_>>())
    }
}
