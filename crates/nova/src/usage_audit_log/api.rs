//! `/os-instance_usage_audit_log`: how far the hosts are with their accounts of servers.

use kit::clock::Timestamp;
use kit::{Context, Error, Path, Reply, Result};
use sea_orm::entity::prelude::*;
use serde_json::{Map, Value, json};

use super::{Column, Entity};
use crate::{Nova, os_services};

/// `GET /os-instance_usage_audit_log`
pub async fn list(app: Nova, _: Context) -> Result<Reply> {
    Reply::ok(&json!({"instance_usage_audit_logs": log(&app, Timestamp::now()).await?}))
}

/// `GET /os-instance_usage_audit_log/{before}`
pub async fn show(app: Nova, _: Context, before: Path<String>) -> Result<Reply> {
    let time = Timestamp::parse(&before.0).ok_or_else(|| Error::bad_request(format!("Invalid timestamp for date {}", before.0)))?;
    Reply::ok(&json!({"instance_usage_audit_log": log(&app, time).await?}))
}

async fn log(app: &Nova, before: Timestamp) -> Result<Value> {
    let period = app.config.instance_usage_audit_period.completed_before(before);
    let hosts: Vec<String> = os_services::compute_hosts(app).await?.into_iter().map(|service| service.host).collect();
    let of_period = Entity::find().filter(Column::PeriodBeginning.eq(period.begin)).filter(Column::PeriodEnding.eq(period.end));
    let audits = of_period.all(app.db.read()).await?;
    let not_run: Vec<&String> = hosts.iter().filter(|host| audits.iter().all(|audit| audit.host != **host)).collect();
    let in_state = |state: &str| audits.iter().filter(|audit| audit.state == state).count();
    let (done, errors) = (in_state("DONE"), audits.iter().map(|audit| audit.errors).sum::<i64>());
    let share = if done == hosts.len() { "ALL".to_owned() } else { format!("{done} of {}", hosts.len()) };
    let log: Map<String, Value> = audits
        .iter()
        .map(|audit| {
            let (state, instances, errors, message) = (&audit.state, audit.task_items, audit.errors, &audit.message);
            (audit.host.clone(), json!({"state": state, "instances": instances, "errors": errors, "message": message}))
        })
        .collect();
    Ok(json!({
        "period_beginning": plain(period.begin), "period_ending": plain(period.end), "num_hosts": hosts.len(), "num_hosts_done": done,
        "num_hosts_running": in_state("RUNNING"), "num_hosts_not_run": not_run.len(), "hosts_not_run": not_run,
        "total_instances": audits.iter().map(|audit| audit.task_items).sum::<i64>(), "total_errors": errors,
        "overall_status": format!("{share} hosts done. {errors} errors."), "log": log,
    }))
}

/// `2026-01-31 10:20:30`
fn plain(time: Timestamp) -> String {
    time.to_seconds_z().replace('T', " ").replace('Z', "")
}
