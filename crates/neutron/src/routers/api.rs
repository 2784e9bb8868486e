//! Create, update and delete routers.

use std::net::IpAddr;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::policy::Target;
use kit::{Context, Path, Reply, Result, ids};

use super::gateway::{self, GatewayInfo};
use super::{Model, ha, placement};
use crate::agents::{self, Touched};
use crate::attributes::{Checked, IfMatch, Input};
use crate::availability::check_hints;
use crate::fault::{bad_request, conflict, invalid_attribute};
use crate::resource::{Resource, changeable, insert, remove, save, with};
use crate::subnets::{self, Route};
use crate::{App, Tx, listing, quotas};

/// Extra routes a router may have.
const ROUTES: usize = 30;

/// `POST /routers`
pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(Model::KEY, Model::PLURAL)?;
    let mut routers = Vec::with_capacity(bodies.len());
    for body in bodies {
        let checked = Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?;
        checked.enforce(&ctx, "create", Model::KEY, Model::ATTRIBUTES, &Target::project(&checked.text("project_id")?))?;
        check_distributed(&checked)?;
        let info = gateway_info(&checked)?;
        let router = new(&checked)?;
        check_hints(&router.availability_zone_hints.0)?;
        if let Some(info) = &info {
            info.enforce(&ctx, "create", &router.project_id)?;
        }
        routers.push((router, info));
    }
    let (on, by) = (app.clone(), ctx.clone());
    let routers = app.write(move |tx| {
        Box::pin(async move {
            let mut made = Vec::with_capacity(routers.len());
            for (router, info) in routers {
                made.push(make(&on, &tx, Some(&by), router, info).await?);
            }
            Ok(made)
        })
    });
    listing::created(&app, &ctx, routers.await?, bulk).await
}

fn new(checked: &Checked) -> Result<Model> {
    Ok(Model {
        description: checked.text("description")?,
        admin_state_up: checked.or("admin_state_up", true)?,
        ha: checked.get::<Option<bool>>("ha")?.flatten().unwrap_or(false),
        availability_zone_hints: Json(checked.or("availability_zone_hints", Vec::new())?),
        ..plain(&checked.text("project_id")?, &checked.text("name")?)
    })
}

/// A router of a project as it is when nothing was said about it.
pub fn plain(project: &str, name: &str) -> Model {
    let now = Timestamp::now();
    Model {
        id: ids::uuid(),
        project_id: project.to_owned(),
        name: name.to_owned(),
        description: String::new(),
        admin_state_up: true,
        status: "ACTIVE".into(),
        host: String::new(),
        gateway_port_id: None,
        gateway_network_id: None,
        enable_snat: true,
        ha: false,
        held: false,
        qos_policy_id: None,
        external_fixed_ips: Json(Vec::new()),
        routes: Json(Vec::new()),
        availability_zone_hints: Json(Vec::new()),
        tags: Json(Vec::new()),
        revision_number: 1,
        created_at: now,
        updated_at: now,
    }
}

/// `None` when the request does not say; null and `{}` both clear.
fn gateway_info(checked: &Checked) -> Result<Option<GatewayInfo>> {
    match checked.get::<serde_json::Value>("external_gateway_info")? {
        None => Ok(None),
        Some(serde_json::Value::Null) => Ok(Some(GatewayInfo::default())),
        Some(value) => GatewayInfo::read(value).map(Some).map_err(|reason| invalid_attribute("external_gateway_info", reason)),
    }
}

/// Inserts a router, within its project's quota, on the host of an L3 agent that is alive.
pub async fn make(app: &App, tx: &Tx<'_>, ctx: Option<&Context>, mut router: Model, info: Option<GatewayInfo>) -> Result<Model> {
    quotas::spend(tx, &router.project_id, "router", 1).await?;
    router.host = agents::l3_hosts(app, tx.db).await?.into_iter().next().unwrap_or_default();
    insert(tx.db, &router).await?;
    placement::settle_standbys(app, tx, &router).await?;
    if let Some(info) = info.filter(|info| info.network_id.is_some()) {
        gateway::set(tx, ctx, &mut router, &info).await?;
        save(tx.db, &mut router).await?;
    }
    tx.touch(Touched::Router(router.id.clone()));
    Ok(router)
}

/// `PUT /routers/{router_id}`
pub async fn update(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let if_match = input.if_match;
    let checked = Checked::update(Model::ATTRIBUTES, input.one(Model::KEY)?)?;
    check_distributed(&checked)?;
    let info = gateway_info(&checked)?;
    let (on, by) = (app.clone(), ctx.clone());
    let router = app.write(move |tx| {
        Box::pin(async move {
            let mut router: Model = changeable(tx.db, &by, "update_router", &id.0).await?;
            if_match.check(router.revision_number)?;
            checked.enforce(&by, "update", Model::KEY, Model::ATTRIBUTES, &Target::project(&router.project_id))?;
            let before = router.clone();
            change_ha(&on, &tx, &checked, &mut router).await?;
            checked.set("name", &mut router.name)?;
            checked.set("description", &mut router.description)?;
            checked.set("admin_state_up", &mut router.admin_state_up)?;
            if let Some(info) = &info {
                info.enforce(&by, "update", &router.project_id)?;
                gateway::set(&tx, Some(&by), &mut router, info).await?;
            }
            if let Some(routes) = checked.get::<Vec<Route>>("routes")? {
                check_routes(&tx, &router, &routes).await?;
                router.routes.0 = routes;
            }
            if router != before {
                save(tx.db, &mut router).await?;
                tx.touch(Touched::Router(router.id.clone()));
            }
            Ok(router)
        })
    });
    listing::updated(&app, &ctx, router.await?).await
}

/// There are no distributed routers; clients may say so.
fn check_distributed(checked: &Checked) -> Result<()> {
    if checked.get::<Option<bool>>("distributed")?.flatten().unwrap_or(false) {
        return Err(bad_request("BadRequest", "Bad router request: Distributed routers are not supported."));
    }
    Ok(())
}

/// Hosts that stand by come and go while the router is down.
async fn change_ha(app: &App, tx: &Tx<'_>, checked: &Checked, router: &mut Model) -> Result<()> {
    let Some(ha) = checked.get::<Option<bool>>("ha")?.flatten().filter(|ha| *ha != router.ha) else { return Ok(()) };
    if router.admin_state_up && checked.or("admin_state_up", true)? {
        let message =
            "Bad router request: Cannot change HA attribute of active routers. Please set router admin_state_up to False prior to upgrade.";
        return Err(bad_request("BadRequest", message));
    }
    router.ha = ha;
    placement::settle_standbys(app, tx, router).await
}

/// A next hop is a neighbour: on a subnet the router is joined to, and not the router itself.
pub async fn check_routes(tx: &Tx<'_>, router: &Model, routes: &[Route]) -> Result<()> {
    if routes.len() > ROUTES {
        return Err(bad_request(
            "RoutesExhausted",
            format!("Unable to complete operation for {}. The number of routes exceeds the maximum {ROUTES}.", router.id),
        ));
    }
    let ports = router.interfaces(tx).await?;
    let addresses = || ports.iter().flat_map(|port| &port.fixed_ips.0).chain(&router.external_fixed_ips.0);
    let own: Vec<IpAddr> = addresses().map(|fixed| fixed.ip_address).collect();
    let ids: Vec<String> = addresses().map(|fixed| fixed.subnet_id.clone()).collect();
    let joined: Vec<subnets::Model> = with(tx.db, "id", &ids).await?;
    for route in routes {
        if own.contains(&route.nexthop) {
            return Err(invalid_routes(route, "the nexthop is used by router"));
        }
        if !joined.iter().any(|subnet| subnet.contains(route.nexthop)) {
            return Err(invalid_routes(route, "the nexthop is not connected with router"));
        }
    }
    Ok(())
}

fn invalid_routes(route: &Route, why: &str) -> kit::Error {
    let message =
        format!("Invalid format for routes: [{{'destination': '{}', 'nexthop': '{}'}}], {why}.", route.destination, route.nexthop);
    bad_request("InvalidRoutes", message)
}

/// `DELETE /routers/{router_id}`: the gateway goes with it, interfaces keep it.
pub async fn delete(app: App, ctx: Context, id: Path<String>, if_match: IfMatch) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let mut router: Model = changeable(tx.db, &ctx, "delete_router", &id.0).await?;
            if_match.check(router.revision_number)?;
            if !router.interfaces(&tx).await?.is_empty() {
                return Err(conflict("RouterInUse", format!("Router {} still has ports", router.id)));
            }
            gateway::set(&tx, Some(&ctx), &mut router, &GatewayInfo::default()).await?;
            remove::<Model, _>(tx.db, &router.id).await?;
            ha::gone(&tx, &router.id).await?;
            tx.touch(Touched::Router(router.id));
            Ok(())
        })
    })
    .await?;
    Reply::no_content()
}
