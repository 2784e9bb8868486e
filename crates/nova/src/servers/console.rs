//! What a guest wrote to its console.

use std::time::Duration;

use kit::{Error, Kind, Reply, Result};
use rpc::compute::{GetConsoleOutput, compute_topic};
use serde_json::{Value, json};

use super::actions::Action;
use super::states::rules::CONSOLE;
use crate::validate;

/// How long the host may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// `{"os-getConsoleOutput": {"length": 50}}`
pub async fn output(action: Action) -> Result<Reply> {
    action.only(&["length"])?;
    let length = match action.body.get("length") {
        None | Some(Value::Null) => None,
        // below zero means everything
        Some(value) => u64::try_from(validate::integer("length", value, -1, i64::MAX)?).ok(),
    };
    CONSOLE.check(&action.server, action.ctx.is_admin())?;
    let server = action.server;
    let host = server.host.ok_or_else(|| Error::conflict(format!("Instance {} is not ready", server.id)))?;
    let question = GetConsoleOutput { instance_id: server.id.clone(), length };
    let output = action.app.bus.call(&compute_topic(&host), question, DEADLINE).await.map_err(|error| match error.kind {
        Kind::NotFound => Error::conflict(format!("Instance {} is not ready", server.id)),
        Kind::TimedOut => Error::unavailable(format!("The host of instance {} does not answer.", server.id)),
        _ => error,
    })?;
    Reply::ok(&json!({"output": output}))
}
