//! `os-migrateLive`: checked like nova's own. No hypervisor of ours can do it yet, and says so before anything changes.

use kit::policy::Target;
use kit::{Error, Reply, Result};
use serde_json::Value;

use super::actions::Action;
use super::begin::host_of;
use super::states::rules::LIVE_MIGRATE;
use crate::{os_services, validate};

/// `{"os-migrateLive": {"host": null, "block_migration": "auto"}}`
pub async fn migrate(action: Action) -> Result<Reply> {
    let minor = action.ctx.version.1;
    let mut known = vec!["host", "block_migration"];
    known.extend((minor <= 24).then_some("disk_over_commit"));
    known.extend((30..=67).contains(&minor).then_some("force"));
    action.only(&known)?;
    for field in known.iter().filter(|field| **field != "force") {
        action.body.get(field).ok_or_else(|| action.required(field))?;
    }
    let automatic = minor >= 25 && action.body.get("block_migration").and_then(Value::as_str) == Some("auto");
    for field in known.iter().filter(|field| **field != "host" && !(automatic && **field == "block_migration")) {
        if let Some(value) = action.body.get(field) {
            validate::boolean(field, value)?;
        }
    }
    let host = action.optional("host")?;
    let Action { app, ctx, server, .. } = action;
    if host.is_some() {
        ctx.enforce("os_compute_api:os-migrate-server:migrate_live:host", &Target::project(&server.project_id))?;
    }
    LIVE_MIGRATE.check(&server, ctx.is_admin())?;
    let source = host_of(&server)?;
    if let Some(host) = &host {
        if *host == source {
            return Err(Error::bad_request(format!("Unable to migrate instance ({}) to current host ({host}).", server.id)));
        }
        if !os_services::compute_hosts(&app).await?.iter().any(|row| row.host == *host) {
            return Err(Error::bad_request(format!("Compute host {host} could not be found.")));
        }
    }
    Err(Error::bad_request(format!("The hypervisor of host {source} does not support live migration.")))
}
