//! What a new cloud begins with: an external network, and for a project to start with a network, a subnet, a router and a default group.

use std::net::IpAddr;

use kit::db::Json;
use kit::{Error, Result, ids};

use crate::routers::GatewayInfo;
use crate::{App, Tx, networks, resource, routers, security_groups, subnets};

/// For whom, and in what addresses.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    pub admin_project: String,
    pub demo_project: String,
    /// The external network's prefix on this host.
    pub public_cidr: String,
    pub public_gateway: IpAddr,
    pub public_pool: (IpAddr, IpAddr),
    pub private_cidr: String,
}

/// Makes what is not there. Everything has a derived id, so a second run finds what the first one made; what a user deleted stays deleted
/// once the public network exists.
pub async fn run(app: &App, bootstrap: &Bootstrap) -> Result<()> {
    let public = network(app, &bootstrap.admin_project, "public", true);
    if resource::fetch::<networks::Model, _>(app.db().read(), &public.id).await?.is_some() {
        return Ok(());
    }
    let private = network(app, &bootstrap.demo_project, "private", false);
    let pool = subnets::Pool { start: bootstrap.public_pool.0, end: bootstrap.public_pool.1 };
    let mut outside = subnet(&public, "public-subnet", &bootstrap.public_cidr, Some(bootstrap.public_gateway), Some(vec![pool]))?;
    outside.enable_dhcp = false;
    let mut inside = subnet(&private, "private-subnet", &bootstrap.private_cidr, None, None)?;
    inside.dns_nameservers.0 = app.config().dns_nameservers.iter().copied().filter(IpAddr::is_ipv4).collect();
    let router = router(&bootstrap.demo_project);
    let (on, demo) = (app.clone(), bootstrap.demo_project.clone());
    app.write(move |tx| {
        Box::pin(async move {
            security_groups::default_of(&tx, &demo).await?;
            networks::make(&tx, public.clone(), &[]).await?;
            networks::make(&tx, private, &[]).await?;
            subnets::make(&tx, outside).await?;
            let inside = subnets::make(&tx, inside).await?;
            join(&on, &tx, router, &public, &inside).await
        })
    })
    .await
}

async fn join(app: &App, tx: &Tx<'_>, router: routers::Model, public: &networks::Model, inside: &subnets::Model) -> Result<()> {
    let gateway = GatewayInfo::to(&public.id);
    let router = routers::make(app, tx, None, router, Some(gateway)).await?;
    routers::attach(tx, &router, inside).await.map(drop)
}

fn network(app: &App, project: &str, name: &str, external: bool) -> networks::Model {
    let tenant = networks::Model { id: ids::derived("bootstrap-network", name), ..networks::tenant(app, project, name) };
    if !external {
        return tenant;
    }
    networks::Model {
        external,
        is_default: true,
        mtu: i64::from(app.config().physical_mtu),
        network_type: "flat".into(),
        physical_network: Some(name.to_owned()),
        ..tenant
    }
}

fn subnet(
    network: &networks::Model,
    name: &str,
    cidr: &str,
    gateway: Option<IpAddr>,
    pools: Option<Vec<subnets::Pool>>,
) -> Result<subnets::Model> {
    let net = cidr.parse().map_err(|_| Error::bad_request(format!("{cidr} is no subnet")))?;
    let (gateway, pools) = subnets::plan(net, gateway.map(Some), pools)?;
    Ok(subnets::Model {
        id: ids::derived("bootstrap-subnet", name),
        project_id: network.project_id.clone(),
        network_id: network.id.clone(),
        name: name.to_owned(),
        description: String::new(),
        ip_version: if net.addr().is_ipv4() { 4 } else { 6 },
        cidr: net.to_string(),
        gateway_ip: gateway.map(|ip| ip.to_string()),
        enable_dhcp: true,
        dns_nameservers: Json(Vec::new()),
        host_routes: Json(Vec::new()),
        allocation_pools: Json(pools),
        ipv6_ra_mode: None,
        ipv6_address_mode: None,
        service_types: Json(Vec::new()),
        subnetpool_id: None,
        dns_publish_fixed_ip: false,
        segment_id: None,
        tags: Json(Vec::new()),
        revision_number: 0,
        created_at: network.created_at,
        updated_at: network.created_at,
    })
}

fn router(project: &str) -> routers::Model {
    routers::Model { id: ids::derived("bootstrap-router", "router1"), ..routers::plain(project, "router1") }
}
