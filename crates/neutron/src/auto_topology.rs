//! `/auto-allocated-topology/{project_id}`: a network, subnets and a router to the outside for a project that just wants to be connected,
//! made on the first request out of the default pools and the default external network.

use kit::clock::Timestamp;
use kit::db::Json;
use kit::policy::Target;
use kit::{Context, Path, Query, Reply, Result, ids};
use serde_json::json;

use crate::agents::Touched;
use crate::fault::{conflict, enforce, not_found};
use crate::resource::{fetch, remove, with};
use crate::subnetpools::{self, Wanted};
use crate::{App, Tx, networks, ports, rbac, routers, sql, subnets};

const NAME: &str = "auto_allocated_network";
const ROUTER: &str = "auto_allocated_router";

/// What it is made of.
struct Parts {
    external: String,
    /// By IP version.
    pools: Vec<(i64, String)>,
}

/// `GET`: with `fields=dry-run` only whether it could be made.
pub async fn show(app: App, ctx: Context, project: Path<String>, query: Query) -> Result<Reply> {
    let project = whose(&ctx, project)?;
    enforce(&ctx, "get_auto_allocated_topology", &Target::project(&project))?;
    let dry = query.all("fields").any(|field| field == "dry-run");
    let on = app.clone();
    let of = project.clone();
    let id = app.write(move |tx| {
        Box::pin(async move {
            if let Some(network) = existing(&tx, &of).await? {
                return Ok(network);
            }
            let parts = parts(&tx).await?;
            if dry { Ok("dry-run=pass".to_owned()) } else { build(&on, &tx, &ctx, &of, &parts).await }
        })
    });
    Reply::ok(&json!({"auto_allocated_topology": {"id": id.await?, "tenant_id": project, "project_id": project}}))
}

/// `DELETE`
pub async fn delete(app: App, ctx: Context, project: Path<String>) -> Result<Reply> {
    let project = whose(&ctx, project)?;
    enforce(&ctx, "delete_auto_allocated_topology", &Target::project(&project))?;
    app.write(move |tx| {
        Box::pin(async move {
            let row = "SELECT network_id, router_id FROM auto_topologies WHERE project_id = $1";
            let rows = sql::query(tx.db, row, [project.as_str().into()]).await?;
            let row = rows.first().ok_or_else(|| not_found("AutoAllocatedTopologyNotFound", "Auto-allocated topology of", &project))?;
            let (network, router): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            sql::execute(tx.db, "DELETE FROM auto_topologies WHERE project_id = $1", [project.as_str().into()]).await?;
            demolish(&tx, &network, &router).await
        })
    })
    .await?;
    Reply::no_content()
}

/// `null` is the caller's own project.
fn whose(ctx: &Context, project: Path<String>) -> Result<String> {
    match project.0.as_str() {
        "null" | "None" => Ok(ctx.project_id()?.to_owned()),
        _ => Ok(project.0),
    }
}

async fn existing(tx: &Tx<'_>, project: &str) -> Result<Option<String>> {
    Ok(sql::texts(tx.db, "SELECT network_id FROM auto_topologies WHERE project_id = $1", [project.into()]).await?.pop())
}

async fn parts(tx: &Tx<'_>) -> Result<Parts> {
    let external = sql::texts(tx.db, "SELECT id FROM networks WHERE is_default AND external", []).await?.pop();
    let mut pools = Vec::new();
    for version in [4, 6] {
        pools.extend(subnetpools::default_of(tx.db, version).await?.map(|pool| (version, pool)));
    }
    let why = match (&external, pools.is_empty()) {
        (Some(_), false) => None,
        (None, _) => Some("No default router:external network"),
        (Some(_), true) => Some("No default subnetpools defined"),
    };
    match (external, why) {
        (Some(external), None) => Ok(Parts { external, pools }),
        (_, why) => {
            let message = format!("Deployment error: {}.", why.unwrap_or_default());
            Err(conflict("AutoAllocationFailure", message))
        }
    }
}

async fn build(app: &App, tx: &Tx<'_>, ctx: &Context, project: &str, parts: &Parts) -> Result<String> {
    let network = networks::make(tx, networks::tenant(app, project, NAME), &[]).await?;
    let router =
        routers::make(app, tx, Some(ctx), routers::plain(project, ROUTER), Some(routers::GatewayInfo::to(&parts.external))).await?;
    for (version, pool) in &parts.pools {
        let wanted = Wanted { pool: pool.clone(), cidr: None, prefixlen: None };
        let net = subnetpools::allocate(tx, ctx, project, *version, &wanted).await?;
        let (gateway, pools) = subnets::plan(net, None, None)?;
        let now = Timestamp::now();
        let subnet = subnets::Model {
            id: ids::uuid(),
            project_id: project.to_owned(),
            network_id: network.id.clone(),
            name: format!("auto_allocated_subnet_v{version}"),
            description: String::new(),
            ip_version: *version,
            cidr: net.to_string(),
            gateway_ip: gateway.map(|ip| ip.to_string()),
            enable_dhcp: true,
            dns_nameservers: Json(Vec::new()),
            host_routes: Json(Vec::new()),
            allocation_pools: Json(pools),
            ipv6_ra_mode: (*version == 6).then(|| "slaac".to_owned()),
            ipv6_address_mode: (*version == 6).then(|| "slaac".to_owned()),
            service_types: Json(Vec::new()),
            subnetpool_id: Some(pool.clone()),
            dns_publish_fixed_ip: false,
            segment_id: None,
            tags: Json(Vec::new()),
            revision_number: 0,
            created_at: now,
            updated_at: now,
        };
        let subnet = subnets::make(tx, subnet).await?;
        routers::attach(tx, &router, &subnet).await?;
    }
    let insert = "INSERT INTO auto_topologies (project_id, network_id, router_id) VALUES ($1, $2, $3)";
    sql::execute(tx.db, insert, [project.into(), network.id.as_str().into(), router.id.as_str().into()]).await?;
    Ok(network.id)
}

async fn demolish(tx: &Tx<'_>, network: &str, router: &str) -> Result<()> {
    if let Some(mut router) = fetch::<routers::Model, _>(tx.db, router).await? {
        for leg in router.interfaces(tx).await? {
            ports::remove(tx, &leg).await?;
        }
        routers::clear_gateway(tx, &mut router).await?;
        remove::<routers::Model, _>(tx.db, &router.id).await?;
        tx.touch(Touched::Router(router.id));
    }
    let ports: Vec<ports::Model> = with(tx.db, "network_id", &[network.to_owned()]).await?;
    if let Some(port) = ports.iter().find(|port| port.device_owner != ports::DHCP) {
        let message = format!("Unable to complete operation on network {network}. Port {} is still in use on it.", port.id);
        return Err(conflict("NetworkInUse", message));
    }
    for port in ports {
        ports::remove(tx, &port).await?;
    }
    for subnet in with::<subnets::Model, _>(tx.db, "network_id", &[network.to_owned()]).await? {
        remove::<subnets::Model, _>(tx.db, &subnet.id).await?;
    }
    rbac::forget(tx, network).await?;
    remove::<networks::Model, _>(tx.db, network).await?;
    tx.touch(Touched::Network(network.to_owned()));
    Ok(())
}
