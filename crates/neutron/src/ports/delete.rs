//! `DELETE /ports/{port_id}`

use kit::policy::Target;
use kit::{Context, Path, Reply, Result};

use super::addresses::touch_membership;
use super::{FLOATING_IP, Model, dhcp};
use crate::agents::Touched;
use crate::attributes::IfMatch;
use crate::fault::conflict;
use crate::resource::{enforce_on, fetch, locked, seen};
use crate::{App, Tx, floatingips, ipam, networks, nova, resource, routers, sql, trunks};

pub async fn delete(app: App, ctx: Context, id: Path<String>, if_match: IfMatch) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let port: Model = seen(tx.db, &ctx, &id.0).await?;
            networks::turn(&tx, vec![port.network_id.clone()]).await?;
            let port: Model = locked(tx.db, &port.id).await?;
            check_owner(&tx, &ctx, &port).await?;
            if_match.check(port.revision_number)?;
            if serves(&tx, &port).await? {
                let message =
                    format!("Port {} cannot be deleted directly via the port API: has device owner {}.", port.id, port.device_owner);
                return Err(conflict("ServicePortInUse", message));
            }
            trunks::check_unused(&tx, &port.id).await?;
            floatingips::port_gone(&tx, &port).await?;
            remove(&tx, &port).await?;
            if port.is_servers() {
                tx.tell_nova(nova::event("network-vif-deleted", &port));
            }
            Ok(())
        })
    })
    .await?;
    Reply::no_content()
}

/// Routers and floating IPs keep their ports, as long as there are the ones and the others have addresses.
async fn serves(tx: &Tx<'_>, port: &Model) -> Result<bool> {
    let table = match port.device_owner.as_str() {
        routers::HA_INTERFACE => return Ok(true),
        FLOATING_IP => "floatingips",
        _ if port.is_routers() => "routers",
        _ => return Ok(false),
    };
    let device = format!("SELECT 1 FROM {table} WHERE id = $1");
    Ok(!port.fixed_ips.0.is_empty() && sql::exists(tx.db, &device, [port.device_id.as_str().into()]).await?)
}

/// A port is its project's, and also the owner's of its network.
async fn check_owner(tx: &Tx<'_>, ctx: &Context, port: &Model) -> Result<()> {
    let network: Option<networks::Model> = fetch(tx.db, &port.network_id).await?;
    let owner = network.map(|network| network.project_id).unwrap_or_default();
    enforce_on(ctx, "delete_port", &port.project_id, &Target::project(&port.project_id).with("network:project_id", &owner))
}

/// Removes a port and all it holds.
pub async fn remove(tx: &Tx<'_>, port: &Model) -> Result<()> {
    networks::turn(tx, vec![port.network_id.clone()]).await?;
    ipam::release(tx, port, &port.fixed_ips.0).await?;
    // the index of groups goes with the row
    resource::remove::<Model, _>(tx.db, &port.id).await?;
    touch_membership(tx, port);
    if port.is_bound_guest() {
        dhcp::prune(tx, &port.network_id, &port.host_id).await?;
    }
    tx.touch(Touched::Port(port.id.clone()));
    Ok(())
}
