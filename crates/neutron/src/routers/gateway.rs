//! A router's gateway: its port on an external network, whose address it also uses for SNAT.

use kit::policy::Target;
use kit::{Context, Result};
use serde::Deserialize;

use super::Model;
use crate::agents::Touched;
use crate::fault::{bad_request, conflict, enforce, invalid_attribute};
use crate::ports::{self, ROUTER_GATEWAY};
use crate::resource::{fetch, locked, seen};
use crate::{Tx, networks, qos, sql};

/// `external_gateway_info`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayInfo {
    #[serde(default)]
    pub network_id: Option<String>,
    #[serde(default)]
    pub enable_snat: Option<bool>,
    #[serde(default)]
    pub external_fixed_ips: Option<Vec<serde_json::Value>>,
    /// `Some(None)` takes it away.
    #[serde(default, deserialize_with = "said")]
    pub qos_policy_id: Option<Option<String>>,
}

/// Null is something that was said.
fn said<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl GatewayInfo {
    /// Nothing but nothing at all goes without a network.
    pub fn read(value: serde_json::Value) -> Result<GatewayInfo, String> {
        let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
        let info: GatewayInfo = serde_json::from_value(value).map_err(|error| error.to_string())?;
        match info.network_id.as_deref() {
            Some(id) if kit::ids::parse_uuid(id).is_none() => Err(format!("'{id}' is not a valid UUID")),
            None if !empty => Err("Validation of dictionary's keys failed. Expected keys: {'network_id'}".into()),
            _ => Ok(info),
        }
    }

    /// To a network, and nothing else said.
    pub fn to(network: &str) -> GatewayInfo {
        GatewayInfo { network_id: Some(network.to_owned()), ..GatewayInfo::default() }
    }

    /// Sharing SNAT and choosing addresses are an administrator's.
    pub fn enforce(&self, ctx: &Context, verb: &str, project: &str) -> Result<()> {
        let target = Target::project(project);
        if self.enable_snat.is_some() {
            enforce(ctx, &format!("{verb}_router:external_gateway_info:enable_snat"), &target)?;
        }
        if self.external_fixed_ips.is_some() {
            enforce(ctx, &format!("{verb}_router:external_gateway_info:external_fixed_ips"), &target)?;
        }
        Ok(())
    }

    fn wanted_ips<T: for<'d> Deserialize<'d>>(&self) -> Result<Option<Vec<T>>> {
        let Some(ips) = &self.external_fixed_ips else { return Ok(None) };
        let checked = crate::values::normalize(crate::values::Kind::FixedIps, serde_json::json!(ips));
        let checked = checked.map_err(|reason| invalid_attribute("external_gateway_info", reason))?;
        serde_json::from_value(checked).map(Some).map_err(|error| invalid_attribute("external_gateway_info", error))
    }
}

/// Sets, changes or (without a network) clears the gateway. The caller saves the router.
pub async fn set(tx: &Tx<'_>, ctx: Option<&Context>, router: &mut Model, info: &GatewayInfo) -> Result<()> {
    let Some(wanted) = &info.network_id else { return clear(tx, router).await };
    networks::turn(tx, router.gateway_network_id.iter().chain([wanted]).cloned().collect()).await?;
    let network: networks::Model = match ctx {
        Some(ctx) => seen(tx.db, ctx, wanted).await?,
        None => locked(tx.db, wanted).await?,
    };
    if !network.external {
        return Err(bad_request("BadRequest", format!("Bad router request: Network {wanted} is not an external network.")));
    }
    router.enable_snat = info.enable_snat.unwrap_or(true);
    if let (Some(policy), Some(ctx)) = (&info.qos_policy_id, ctx) {
        qos::check_usable(tx, ctx, policy.as_ref()).await?;
        router.qos_policy_id.clone_from(policy);
    }
    let moves = router.gateway_network_id.as_ref() != Some(wanted);
    if moves || info.external_fixed_ips.is_some() {
        clear(tx, router).await?;
        plug(tx, router, &network, info).await?;
    }
    tx.touch(Touched::Router(router.id.clone()));
    Ok(())
}

async fn plug(tx: &Tx<'_>, router: &mut Model, network: &networks::Model, info: &GatewayInfo) -> Result<()> {
    // a part of the cloud: it belongs to no project
    let mut port = ports::new(network, "");
    port.device_id.clone_from(&router.id);
    port.device_owner = ROUTER_GATEWAY.into();
    port.port_security_enabled = false;
    port.host_id.clone_from(&router.host);
    let port = ports::insert_with(tx, network, port, None, info.wanted_ips()?).await?;
    router.gateway_port_id = Some(port.id);
    router.gateway_network_id = Some(network.id.clone());
    router.external_fixed_ips.0 = port.fixed_ips.0;
    Ok(())
}

/// Takes the gateway away. The caller saves the router.
pub async fn clear(tx: &Tx<'_>, router: &mut Model) -> Result<()> {
    let Some(port) = router.gateway_port_id.take() else { return Ok(()) };
    // no floating IP is on its way through it while we look
    networks::turn(tx, router.gateway_network_id.clone().into_iter().collect()).await?;
    let used = "SELECT 1 FROM floatingips WHERE router_id = $1 LIMIT 1";
    if sql::exists(tx.db, used, [router.id.as_str().into()]).await? {
        let network = router.gateway_network_id.clone().unwrap_or_default();
        let message = format!(
            "Gateway cannot be updated for router {}, since a gateway to external network {network} is required by one or more floating IPs.",
            router.id
        );
        return Err(conflict("RouterExternalGatewayInUseByFloatingIp", message));
    }
    router.gateway_network_id = None;
    router.qos_policy_id = None;
    router.external_fixed_ips.0.clear();
    // the row names the port, so it lets go first
    sql::execute(tx.db, "UPDATE routers SET gateway_port_id = NULL WHERE id = $1", [router.id.as_str().into()]).await?;
    if let Some(port) = fetch::<ports::Model, _>(tx.db, &port).await? {
        ports::remove(tx, &port).await?;
    }
    tx.touch(Touched::Router(router.id.clone()));
    Ok(())
}
