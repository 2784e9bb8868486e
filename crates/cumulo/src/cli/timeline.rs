//! `cumulo server timeline NAME`: the steps of a server's boot, who asked whom, and how long each took.

use serde_json::Value;

use super::api::{self, Api, items, text};
use super::say;
use crate::state::StateDir;

/// Columns of the drawn bar.
const WIDTH: i64 = 40;

/// Draws the boot of the server with this name or id.
pub fn timeline(state: &StateDir, server: &str) -> Result<(), String> {
    let action = api::block_on(async {
        let api = Api::admin(state).await?;
        let id = find(&api, server).await?;
        let actions = api.get_at("2.51", &format!("/servers/{id}/os-instance-actions"), "instanceActions").await?;
        let create = items(&actions).iter().find(|action| text(action, "/action") == "create");
        let request =
            create.map(|action| text(action, "/request_id").to_owned()).ok_or(format!("Server {server} has no boot on record."))?;
        api.get_at("latest", &format!("/servers/{id}/os-instance-actions/{request}"), "instanceAction").await
    })?;
    draw(&action).iter().for_each(|line| say(line));
    Ok(())
}

async fn find(api: &Api, server: &str) -> Result<String, String> {
    let servers = api.get(&api.compute, &format!("/servers?all_tenants=1&name=%5E{server}%24"), "servers").await?;
    if let Some(found) = items(&servers).first() {
        return Ok(text(found, "/id").to_owned());
    }
    let found = api.get(&api.compute, &format!("/servers/{server}"), "server").await;
    found.map(|server| text(&server, "/id").to_owned()).map_err(|_| format!("There is no server {server}."))
}

/// One line for each step, in the order they began.
fn draw(action: &Value) -> Vec<String> {
    let mut steps: Vec<Step> = items(&action["events"]).iter().filter_map(Step::read).collect();
    steps.sort_by_key(|step| (step.began, step.ended));
    let began = steps.first().map_or(0, |step| step.began);
    let ended = steps.iter().map(|step| step.ended).max().unwrap_or(began);
    let total = (ended - began).max(1);
    let mut lines =
        vec![format!("boot of {} ({}): {:.1} ms", text(action, "/instance_uuid"), text(action, "/request_id"), total as f64 / 1000.0)];
    for step in &steps {
        let from = (step.began - began) * WIDTH / total;
        let length = ((step.ended - step.began) * WIDTH / total).clamp(1, WIDTH - from.min(WIDTH - 1));
        let bar = format!("{}{}", " ".repeat(from as usize), "█".repeat(length as usize));
        lines.push(format!(
            "{:>9.1} ms {:>9.1} ms  {bar:<width$} {:<34} {}{}",
            (step.began - began) as f64 / 1000.0,
            (step.ended - step.began) as f64 / 1000.0,
            step.who,
            step.name,
            if step.failed { "  FAILED" } else { "" },
            width = WIDTH as usize,
        ));
    }
    lines
}

struct Step {
    name: String,
    who: String,
    began: i64,
    ended: i64,
    failed: bool,
}

impl Step {
    fn read(event: &Value) -> Option<Step> {
        let moment = |key: &str| kit::clock::Timestamp::parse(text(event, key)).map(|t| t.0);
        let began = moment("/start_time")?;
        let (from, to) = (text(event, "/from"), text(event, "/to"));
        let who = if to.is_empty() || to == from { from.to_owned() } else { format!("{from} -> {to}") };
        Some(Step {
            name: text(event, "/event").to_owned(),
            who,
            began,
            ended: moment("/finish_time").unwrap_or(began),
            failed: text(event, "/result") == "Error",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_are_drawn_in_order_with_their_share() {
        let event = |name: &str, from: &str, to: &str, start: &str, finish: &str| {
            json!({"event": name, "from": from, "to": to, "result": "Success",
                   "start_time": format!("2026-01-01T00:00:00.{start}"), "finish_time": format!("2026-01-01T00:00:00.{finish}")})
        };
        let action = json!({"instance_uuid": "u", "request_id": "r", "events": [
            event("compute_spawn", "nova-compute", "", "050000", "100000"),
            event("api_check_token", "nova-api", "keystone", "000000", "001000"),
        ]});
        let lines = draw(&action);
        assert_eq!(lines[0], "boot of u (r): 100.0 ms");
        assert!(lines[1].contains("nova-api -> keystone") && lines[1].contains("1.0 ms"), "{}", lines[1]);
        assert!(lines[2].contains(&format!("{}{}", " ".repeat(20), "█".repeat(20))), "{}", lines[2]);
    }
}
