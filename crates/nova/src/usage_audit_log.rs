//! `/os-instance_usage_audit_log`: how far the hosts are with their monthly accounts of servers. Hosts here keep none, usage is asked of
//! `os-simple-tenant-usage`; so the log says of every host that its audit has not run.

use kit::clock::Timestamp;
use kit::{Context, Error, Path, Reply, Result};
use serde_json::{Value, json};

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
    let hosts: Vec<String> = os_services::compute_hosts(app).await?.into_iter().map(|service| service.host).collect();
    let (begin, end) = month_before(before);
    let status =
        if hosts.is_empty() { "ALL hosts done. 0 errors.".to_owned() } else { format!("0 of {} hosts done. 0 errors.", hosts.len()) };
    Ok(json!({
        "period_beginning": begin, "period_ending": end, "num_hosts": hosts.len(), "num_hosts_done": 0, "num_hosts_running": 0,
        "num_hosts_not_run": hosts.len(), "hosts_not_run": hosts, "total_instances": 0, "total_errors": 0, "overall_status": status,
        "log": {},
    }))
}

/// The last whole month before a moment: its beginning and its end.
fn month_before(time: Timestamp) -> (String, String) {
    let text = time.to_seconds_z();
    let number = |range| text.get(range).and_then(|digits: &str| digits.parse::<u32>().ok()).unwrap_or(1);
    let (year, month) = (number(0..4), number(5..7));
    let (before_year, before_month) = if month == 1 { (year.saturating_sub(1), 12) } else { (year, month - 1) };
    let first = |year: u32, month: u32| format!("{year:04}-{month:02}-01 00:00:00");
    (first(before_year, before_month), first(year, month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_is_the_last_whole_month() {
        let month = |text: &str| month_before(Timestamp::parse(text).unwrap());
        assert_eq!(month("2026-01-31 10:20:30"), ("2025-12-01 00:00:00".into(), "2026-01-01 00:00:00".into()));
        assert_eq!(month("2026-07-01 00:00:00").0, "2026-06-01 00:00:00");
    }
}
