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
        api.get_at("latest", &format!("/servers/{id}/os-instance-actions/{request}/timeline"), "timeline").await
    })?;
    draw(&action).iter().for_each(|line| say(line));
    Ok(())
}

/// The id of the server with this name or id.
pub async fn find(api: &Api, server: &str) -> Result<String, String> {
    let servers = api.get(&api.compute, &format!("/servers?all_tenants=1&name=%5E{server}%24"), "servers").await?;
    if let Some(found) = items(&servers).first() {
        return Ok(text(found, "/id").to_owned());
    }
    let found = api.get(&api.compute, &format!("/servers/{server}"), "server").await;
    found.map(|server| text(&server, "/id").to_owned()).map_err(|_| format!("There is no server {server}."))
}

/// One line for each step, in the order they began.
fn draw(timeline: &Value) -> Vec<String> {
    let mut steps: Vec<Step> = items(&timeline["steps"]).iter().map(Step::read).collect();
    steps.sort_by_key(|step| (step.after, step.took));
    let total = steps.iter().map(|step| step.after + step.took).max().unwrap_or(0).max(1);
    let mut lines = vec![format!("boot of {} ({}): {:.1} ms", text(timeline, "/server_id"), text(timeline, "/request_id"), millis(total))];
    for step in &steps {
        let from = (step.after * WIDTH / total).min(WIDTH - 1);
        let length = (step.took * WIDTH / total).clamp(1, WIDTH - from);
        let bar = format!("{}{}", " ".repeat(from as usize), "█".repeat(length as usize));
        lines.push(format!(
            "{:>9.1} ms {:>9.1} ms  {bar:<width$} {:<34} {}{}",
            millis(step.after),
            millis(step.took),
            step.who,
            step.name,
            if step.failed { "  FAILED" } else { "" },
            width = WIDTH as usize,
        ));
    }
    lines
}

fn millis(micros: i64) -> f64 {
    micros as f64 / 1000.0
}

/// Times are microseconds.
struct Step {
    name: String,
    who: String,
    after: i64,
    took: i64,
    failed: bool,
}

impl Step {
    fn read(step: &Value) -> Step {
        let (from, to) = (text(step, "/from"), text(step, "/to"));
        Step {
            name: text(step, "/event").to_owned(),
            who: if to.is_empty() || to == from { from.to_owned() } else { format!("{from} -> {to}") },
            after: step["after_us"].as_i64().unwrap_or_default().max(0),
            took: step["took_us"].as_i64().unwrap_or_default().max(0),
            failed: text(step, "/result") == "Error",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_are_drawn_in_order_with_their_share() {
        let step = |name: &str, from: &str, to: &str, after: i64, took: i64| json!({"event": name, "from": from, "to": to, "result": "Success", "after_us": after, "took_us": took});
        let timeline = json!({"server_id": "u", "request_id": "r", "steps": [
            step("compute_spawn", "nova-compute", "", 50_000, 50_000),
            step("api_check_token", "nova-api", "keystone", 0, 1_000),
        ]});
        let lines = draw(&timeline);
        assert_eq!(lines[0], "boot of u (r): 100.0 ms");
        assert!(lines[1].contains("nova-api -> keystone") && lines[1].contains("1.0 ms"), "{}", lines[1]);
        assert!(lines[2].contains(&format!("{}{}", " ".repeat(20), "█".repeat(20))), "{}", lines[2]);
    }
}
