//! How long a host is up: asked of the host itself.

use std::time::Duration;

use kit::{Context, Error, Kind, Path, Reply, Result};
use rpc::compute::{GetHostUptime, compute_topic};
use serde_json::json;

use super::{api, view};
use crate::{Nova, os_services};

/// A host that is up says so at once.
const DEADLINE: Duration = Duration::from_secs(10);

/// `GET /os-hypervisors/{id}/uptime`, until 2.87.
pub async fn show(app: Nova, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let node = api::find(&app, &ctx, &id).await?;
    let service = os_services::of_host(&app, &node.host).await?;
    let (state, status) = view::standing(&app.config, service.as_ref());
    if state != "up" {
        return Err(down(&node.host));
    }
    let uptime = app.bus.call(&compute_topic(&node.host), GetHostUptime {}, DEADLINE).await.map_err(|error| match error.kind {
        Kind::TimedOut | Kind::Unavailable => down(&node.host),
        _ => error,
    })?;
    Reply::ok(&json!({"hypervisor": {
        "id": view::id(&ctx, &node), "hypervisor_hostname": node.hypervisor_hostname, "uptime": uptime, "state": state, "status": status,
    }}))
}

fn down(host: &str) -> Error {
    Error::bad_request(format!("Compute service of {host} is unavailable at this time."))
}
