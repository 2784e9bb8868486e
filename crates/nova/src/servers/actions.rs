//! `POST /servers/{id}/action`: one key says what to do. This table is the index of what there is.

use futures::future::BoxFuture;
use kit::microversion::{Microversion, Versioned};
use kit::policy::Target;
use kit::{Context, Error, Json, Kind, Path, Reply, Result, exact};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::instance::Model;
use super::{
    console, delete, evacuate, fixed_ips, floating_ips, images, live_migration, lock, password, power, rebuild, remote_consoles, rescue,
    reset_state, resize, security_groups, shelve, store,
};
use crate::{Nova, validate};

/// What an action is given.
pub struct Action {
    pub app: Nova,
    pub ctx: Context,
    pub server: Model,
    /// Its name in the body.
    pub key: &'static str,
    /// What stands behind the key.
    pub body: Value,
}

type Handler = fn(Action) -> BoxFuture<'static, Result<Reply>>;

/// One action: key, policy rule, handler, versions.
struct Row {
    key: &'static str,
    rule: &'static str,
    handler: Handler,
    since: Microversion,
    until: Microversion,
}

impl Row {
    const fn since(mut self, minor: u16) -> Row {
        self.since = Microversion(2, minor);
        self
    }

    const fn until(mut self, minor: u16) -> Row {
        self.until = Microversion(2, minor);
        self
    }
}

macro_rules! row {
    ($key:literal, $rule:literal, $handler:path) => {
        Row {
            key: $key,
            rule: concat!("os_compute_api:", $rule),
            handler: |action| Box::pin($handler(action)),
            since: Microversion::NONE,
            until: Microversion::MAX,
        }
    };
}

const ACTIONS: &[Row] = &[
    row!("os-start", "servers:start", power::start),
    row!("os-stop", "servers:stop", power::stop),
    row!("reboot", "servers:reboot", power::reboot),
    row!("pause", "os-pause-server:pause", power::pause),
    row!("unpause", "os-pause-server:unpause", power::unpause),
    row!("suspend", "os-suspend-server:suspend", power::suspend),
    row!("resume", "os-suspend-server:resume", power::resume),
    row!("trigger_crash_dump", "servers:trigger_crash_dump", power::trigger_crash_dump).since(17),
    row!("lock", "os-lock-server:lock", lock::lock),
    row!("unlock", "os-lock-server:unlock", lock::unlock),
    row!("rescue", "os-rescue", rescue::rescue),
    row!("unrescue", "os-unrescue", rescue::unrescue),
    row!("rebuild", "servers:rebuild", rebuild::rebuild),
    row!("createImage", "servers:create_image", images::create_image),
    row!("createBackup", "os-create-backup", images::create_backup),
    row!("resize", "servers:resize", resize::resize),
    row!("confirmResize", "servers:confirm_resize", resize::confirm),
    row!("revertResize", "servers:revert_resize", resize::revert),
    row!("migrate", "os-migrate-server:migrate", resize::migrate),
    row!("os-migrateLive", "os-migrate-server:migrate_live", live_migration::migrate),
    row!("evacuate", "os-evacuate", evacuate::evacuate),
    row!("shelve", "os-shelve:shelve", shelve::shelve),
    row!("shelveOffload", "os-shelve:shelve_offload", shelve::offload),
    row!("unshelve", "os-shelve:unshelve", shelve::unshelve),
    row!("changePassword", "os-admin-password", password::change),
    row!("restore", "os-deferred-delete:restore", delete::restore),
    row!("forceDelete", "os-deferred-delete:force", delete::force),
    row!("os-resetState", "os-admin-actions:reset_state", reset_state::reset_state),
    row!("injectNetworkInfo", "os-admin-actions:inject_network_info", reset_state::inject_network_info),
    row!("os-getConsoleOutput", "os-console-output", console::output),
    row!("os-getVNCConsole", "os-remote-consoles", remote_consoles::by_action).until(5),
    row!("os-getSPICEConsole", "os-remote-consoles", remote_consoles::by_action).until(5),
    row!("os-getSerialConsole", "os-remote-consoles", remote_consoles::by_action).until(5),
    row!("addSecurityGroup", "os-security-groups:add", security_groups::add),
    row!("removeSecurityGroup", "os-security-groups:remove", security_groups::remove),
    row!("addFloatingIp", "os-floating-ips:add", floating_ips::add).until(43),
    row!("removeFloatingIp", "os-floating-ips:remove", floating_ips::remove).until(43),
    row!("addFixedIp", "os-multinic:add", fixed_ips::add).until(43),
    row!("removeFixedIp", "os-multinic:remove", fixed_ips::remove).until(43),
];

/// Actions that nova no longer has, at any version.
const REMOVED: &[&str] = &["resetNetwork", "os-getRDPConsole"];

/// `POST /servers/{id}/action`
pub async fn act(app: Nova, ctx: Context, id: Path<String>, body: Json<Map<String, Value>>) -> Result<Reply> {
    let mut entries = body.0.into_iter();
    let (Some((key, body)), None) = (entries.next(), entries.next()) else {
        return Err(Error::bad_request(
            "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        ));
    };
    if REMOVED.contains(&key.as_str()) {
        return Err(Error::new(Kind::Gone, "This action was removed."));
    }
    let row = ACTIONS.iter().find(|row| row.key == key && ctx.version >= row.since);
    let row = row.ok_or_else(|| Error::bad_request(format!("There is no such action: {key}")))?;
    if ctx.version > row.until {
        return Err(Error::not_found("The resource could not be found."));
    }
    let server = store::fetch(&app, &ctx, &id.0).await?;
    ctx.enforce(row.rule, &Target::project(&server.project_id).with("user_id", &server.user_id))?;
    (row.handler)(Action { app, ctx, server, key: row.key, body }).await
}

/// 202 and nothing else.
pub fn accepted() -> Reply {
    Reply::empty(http::StatusCode::ACCEPTED)
}

impl Action {
    /// The body is null, where nova insists on it: most actions without a body take any, as their first clients sent one.
    pub fn no_body(&self) -> Result<()> {
        match &self.body {
            Value::Null => Ok(()),
            _ if !self.ctx.strict => Ok(()),
            other => Err(validate::not_a("null", self.key, other)),
        }
    }

    /// The body as a type whose fields come and go with the version.
    pub fn read<T: DeserializeOwned + Versioned>(&self) -> Result<T> {
        let mut object = self.object()?.clone();
        if self.ctx.strict {
            kit::microversion::check_keys::<T>(self.key, &object, self.ctx.version)?;
        } else {
            object.retain(|key, _| T::FIELDS.iter().any(|field| field.name == key && field.exists_at(self.ctx.version)));
        }
        exact::read(self.key, object, self.ctx.strict)
    }

    /// A text of the body that must be there and not be empty.
    pub fn text(&self, field: &'static str) -> Result<&str> {
        match self.body.get(field) {
            None => Err(self.required(field)),
            Some(Value::String(text)) if text.is_empty() => Err(validate::invalid(field, "", "'' is too short")),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(validate::not_a("string", field, other)),
        }
    }

    /// A text of the body that must be there, and may be empty.
    pub fn string(&self, field: &'static str) -> Result<String> {
        self.body.get(field).ok_or_else(|| self.required(field))?;
        Ok(self.optional(field)?.unwrap_or_default())
    }

    /// A text of the body that may be absent, but not null.
    pub fn optional(&self, field: &'static str) -> Result<Option<String>> {
        match self.body.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(validate::not_a("string", field, other)),
        }
    }

    /// A text of the body that may be absent or null.
    pub fn nullable(&self, field: &'static str) -> Result<Option<String>> {
        if self.body.get(field) == Some(&Value::Null) { Ok(None) } else { self.optional(field) }
    }

    /// A field that must be there is not.
    pub fn required(&self, field: &str) -> Error {
        exact::invalid(self.key, &self.body, format!("'{field}' is a required property"))
    }

    /// Fields of the body, and no others.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        let object = self.object()?;
        if !self.ctx.strict {
            return Ok(());
        }
        kit::microversion::only(self.key, object, |key| known.contains(&key))
    }

    fn object(&self) -> Result<&Map<String, Value>> {
        self.body.as_object().ok_or_else(|| validate::not_a("object", self.key, &self.body))
    }
}
