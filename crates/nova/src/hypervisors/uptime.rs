//! How long a host is up: asked of the host itself.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use kit::{Context, Error, Kind, Path, Reply, Result};
use rpc::compute::{GetHostUptime, compute_topic};
use serde_json::json;

use super::{api, view};
use crate::{Nova, os_services};

/// A host that is up says so at once.
const DEADLINE: Duration = Duration::from_secs(10);
/// Hosts asked at the same time.
const AT_ONCE: usize = 64;

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

/// What hosts say when asked together; those that do not answer are left out.
pub async fn of_hosts(app: &Nova, hosts: &[&str]) -> HashMap<String, String> {
    let ask = |host: &str| {
        let (app, host) = (app.clone(), host.to_owned());
        async move {
            let uptime = app.bus.call(&compute_topic(&host), GetHostUptime {}, DEADLINE).await.ok()?;
            Some((host, uptime))
        }
    };
    let asked: Vec<_> = hosts.iter().map(|host| ask(host)).collect();
    futures::stream::iter(asked).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
}

fn down(host: &str) -> Error {
    Error::bad_request(format!("Compute service of {host} is unavailable at this time."))
}
