//! `/os-networks` and `/os-tenant-networks`, until 2.35: the networks that the caller sees in neutron, as nova-network showed its own.

use kit::{Context, Error, Path, Reply, Result};
use sdk::network::NetworkInfo;
use serde_json::{Map, Value, json};

use crate::Nova;

/// What a network had that neutron keeps elsewhere or not at all.
const UNKNOWN: &[&str] = &["cidr", "netmask", "gateway", "broadcast", "dns1", "dns2", "cidr_v6", "gateway_v6", "netmask_v6"];

/// The same, for operators only.
const UNKNOWN_TO_ADMINS: &[&str] = &[
    "created_at",
    "updated_at",
    "deleted_at",
    "deleted",
    "injected",
    "bridge",
    "vlan",
    "vpn_public_address",
    "vpn_public_port",
    "vpn_private_address",
    "dhcp_start",
    "project_id",
    "host",
    "bridge_interface",
    "multi_host",
    "priority",
    "rxtx_base",
    "mtu",
    "dhcp_server",
    "enable_dhcp",
    "share_address",
];

/// `GET /os-networks` and `GET /os-tenant-networks`
pub async fn list(app: Nova, ctx: Context) -> Result<Reply> {
    let networks = app.cloud.network.networks(&ctx.auth(), &[]).await?;
    Reply::ok(&json!({"networks": networks.iter().map(|network| view(&ctx, network)).collect::<Vec<_>>()}))
}

/// `GET /os-networks/{id}` and `GET /os-tenant-networks/{id}`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let network = app.cloud.network.network(&ctx.auth(), &id.0).await?;
    let network = network.ok_or_else(|| Error::not_found(format!("Network {} could not be found.", id.0)))?;
    Reply::ok(&json!({"network": view(&ctx, &network)}))
}

/// A tenant's network is three fields; the other has all that nova-network knew, empty.
fn view(ctx: &Context, network: &NetworkInfo) -> Value {
    if ctx.rule.starts_with("os_compute_api:os-tenant-networks") {
        return json!({"id": network.id, "label": network.name, "cidr": "None"});
    }
    let hidden: &[&str] = if ctx.is_admin() { UNKNOWN_TO_ADMINS } else { &[] };
    let mut view: Map<String, Value> = UNKNOWN.iter().chain(hidden).map(|field| ((*field).to_owned(), Value::Null)).collect();
    view.insert("id".into(), json!(network.id));
    view.insert("label".into(), json!(network.name));
    Value::Object(view)
}
