//! `cumulo server explain NAME`: why a server is where it is, or nowhere. For each time a host was looked for: which filter left how many hosts,
//! which one was chosen, and what went wrong after that.

use serde_json::Value;

use super::api::{self, Api, items, text};
use super::{say, timeline};
use crate::state::StateDir;

/// Actions told of, the latest.
const ACTIONS: usize = 10;

/// Explains the server with this name or id.
pub fn explain(state: &StateDir, server: &str) -> Result<(), String> {
    let lines = api::block_on(async {
        let api = Api::admin(state).await?;
        let id = timeline::find(&api, server).await?;
        let shown = api.get_at("2.79", &format!("/servers/{id}"), "server").await?;
        let mut lines = vec![headline(&shown)];
        let path = format!("/servers/{id}/os-instance-actions");
        let actions = api.get_at("2.51", &path, "instanceActions").await?;
        for action in items(&actions).iter().take(ACTIONS).rev() {
            let steps = api.get_at("latest", &format!("{path}/{}/timeline", text(action, "/request_id")), "timeline").await?;
            lines.extend(scheduling(action, &steps));
        }
        lines.extend(Some(text(&shown, "/fault/message")).filter(|fault| !fault.is_empty()).map(|fault| format!("fault: {fault}")));
        Ok(lines)
    })?;
    lines.iter().for_each(|line| say(line));
    Ok(())
}

fn headline(server: &Value) -> String {
    let host = Some(text(server, "/OS-EXT-SRV-ATTR:host")).filter(|host| !host.is_empty());
    let place = host.map_or_else(|| "on no host".to_owned(), |host| format!("on {host}"));
    format!("{} ({}) is {}, {place}", text(server, "/name"), text(server, "/id"), text(server, "/status"))
}

/// What one action says of the search for a host; nothing when none was looked for.
fn scheduling(action: &Value, timeline: &Value) -> Vec<String> {
    let steps = || items(&timeline["steps"]).iter();
    let mut lines = Vec::new();
    for step in steps().filter(|step| text(step, "/event").starts_with("scheduler_") || text(step, "/event") == "conductor_cast_build") {
        let details = text(step, "/details");
        match text(step, "/event") {
            "scheduler_filter_hosts" => {
                lines.push(format!("{} at {}, hosts by filter:", text(action, "/action"), text(step, "/start_time")));
                lines.extend(details.split(", ").filter(|part| !part.is_empty()).map(filter));
            }
            "scheduler_claim_host" => lines.push(format!("  chosen and claimed: {details}")),
            _ => lines.push(format!("  asked to build it: {details}")),
        }
    }
    let failed = steps().filter(|step| text(step, "/result") == "Error" && !text(step, "/event").starts_with("scheduler_"));
    lines.extend(failed.map(|step| format!("  {} failed on {}: {}", text(step, "/event"), text(step, "/host"), text(step, "/details"))));
    lines
}

/// `ComputeFilter 3 -> 0` as a line of a table.
fn filter(part: &str) -> String {
    let read = || {
        let (name, counts) = part.split_once(' ')?;
        let (start, end) = counts.split_once(" -> ")?;
        Some((name, start.parse::<u64>().ok()?, end.parse::<u64>().ok()?))
    };
    match read() {
        Some((name, start, end)) => {
            let remark = match (start, end) {
                (_, 0) => "  none is left",
                (start, end) if start > end => "  refused some",
                _ => "",
            };
            format!("  {name:<36} {start:>6} -> {end:<6}{remark}").trim_end().to_owned()
        }
        None => format!("  {part}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_filter_has_a_line() {
        let steps = json!({"steps": [
            {"event": "api_check_token", "result": "Success"},
            {"event": "scheduler_filter_hosts", "details": "PlacementResources 3 -> 2, ComputeFilter 2 -> 0", "start_time": "T", "result": "Error"},
            {"event": "compute_spawn", "host": "h1", "details": "no room", "result": "Error"},
        ]});
        assert_eq!(
            scheduling(&json!({"action": "create"}), &steps),
            [
                "create at T, hosts by filter:",
                "  PlacementResources                        3 -> 2       refused some",
                "  ComputeFilter                             2 -> 0       none is left",
                "  compute_spawn failed on h1: no room",
            ]
        );
        let server = json!({"name": "web", "id": "i", "status": "ERROR"});
        assert_eq!(headline(&server), "web (i) is ERROR, on no host");
        assert!(scheduling(&json!({"action": "stop"}), &json!({"steps": []})).is_empty());
    }
}
