//! `/os-hypervisors`.

use std::collections::HashMap;

use kit::collection::{Page, cut, next_href};
use kit::db::Json;
use kit::microversion::{At, Microversion};
use kit::{Context, Error, Path, Query, Reply, Result};
use rpc::compute::Flavor;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::{Value, json};

use super::node::{Column, Entity, Model};
use super::view::{self, Shown, Used};
use crate::microversions::{HYPERVISOR_PAGES, STRICT, UUIDS};
use crate::servers::instance;
use crate::{Nova, os_services, validate};

/// Servers are always listed from here on.
const SERVERS_ALWAYS: Microversion = STRICT;
/// Hypervisors show how long they are up, and no longer what they have.
const UPTIME_SHOWN: Microversion = Microversion(2, 88);

/// `GET /os-hypervisors`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    listed(&app, &ctx, &query, "/os-hypervisors", false).await
}

/// `GET /os-hypervisors/detail`
pub async fn detail(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    listed(&app, &ctx, &query, "/os-hypervisors/detail", true).await
}

/// `GET /os-hypervisors/{id}`
pub async fn show(app: Nova, ctx: Context, Path(id): Path<String>, query: Query) -> Result<Reply> {
    let node = find(&app, &ctx, &id).await?;
    validate::query_keys(&ctx, &query, STRICT, &["with_servers"])?;
    let mut parts = Gathered::of(&app, wants_servers(&ctx, &query)?).await?;
    parts.ask_uptimes(&app, &ctx, std::slice::from_ref(&node)).await;
    let detail = view::detail(&app, &ctx, &node, &parts.shown());
    Reply::ok(&HashMap::from([("hypervisor", At(&detail, ctx.version))]))
}

/// One hypervisor by the id its version knows it by.
pub async fn find(app: &Nova, ctx: &Context, id: &str) -> Result<Model> {
    let node = if ctx.speaks(UUIDS) {
        let uuid = kit::ids::parse_uuid(id).ok_or_else(|| Error::bad_request(format!("Invalid uuid {id}")))?;
        Entity::find_by_id(uuid).one(app.db.read()).await?
    } else {
        Entity::find().filter(Column::Number.eq(id.parse::<i64>().unwrap_or(-1))).one(app.db.read()).await?
    };
    node.ok_or_else(|| Error::not_found(format!("Compute host {id} could not be found.")))
}

/// `GET /os-hypervisors/{pattern}/search`, until 2.52.
pub async fn search(app: Nova, ctx: Context, Path(pattern): Path<String>) -> Result<Reply> {
    let nodes = matching(&app, &pattern).await?;
    let parts = Gathered::of(&app, false).await?;
    let hypervisors: Vec<Value> = nodes.iter().map(|node| view::brief(&app, &ctx, node, &parts.shown())).collect();
    Reply::ok(&json!({"hypervisors": hypervisors}))
}

/// `GET /os-hypervisors/{pattern}/servers`, until 2.52.
pub async fn servers(app: Nova, ctx: Context, Path(pattern): Path<String>) -> Result<Reply> {
    let nodes = matching(&app, &pattern).await?;
    let parts = Gathered::of(&app, true).await?;
    let hypervisors: Vec<Value> = nodes.iter().map(|node| view::brief(&app, &ctx, node, &parts.shown())).collect();
    Reply::ok(&json!({"hypervisors": hypervisors}))
}

/// `GET /os-hypervisors/statistics`: all of them together.
pub async fn statistics(app: Nova, ctx: Context) -> Result<Reply> {
    let nodes = Entity::find().all(app.db.read()).await?;
    let parts = Gathered::of(&app, false).await?;
    let details: Vec<view::Detail> = nodes.iter().map(|node| view::detail(&app, &ctx, node, &parts.shown())).collect();
    let sum = |field: fn(&view::Detail) -> i64| details.iter().map(field).sum::<i64>();
    Reply::ok(&json!({"hypervisor_statistics": {
        "count": details.len(),
        "vcpus": sum(|d| d.vcpus), "vcpus_used": sum(|d| d.vcpus_used),
        "memory_mb": sum(|d| d.memory_mb), "memory_mb_used": sum(|d| d.memory_mb_used), "free_ram_mb": sum(|d| d.free_ram_mb),
        "local_gb": sum(|d| d.local_gb), "local_gb_used": sum(|d| d.local_gb_used), "free_disk_gb": sum(|d| d.free_disk_gb),
        "disk_available_least": sum(|d| d.disk_available_least),
        "running_vms": sum(|d| d.running_vms), "current_workload": sum(|d| d.current_workload),
    }}))
}

async fn listed(app: &Nova, ctx: &Context, query: &Query, path: &str, whole: bool) -> Result<Reply> {
    validate::query_keys(ctx, query, STRICT, &["limit", "marker", "hypervisor_hostname_pattern", "with_servers"])?;
    let asked = if ctx.speaks(HYPERVISOR_PAGES) { query.clone() } else { Query::default() };
    let page = Page::parse(&asked, app.config.max_limit, app.config.max_limit)?;
    let mut nodes = match query.get("hypervisor_hostname_pattern").filter(|_| ctx.speaks(UUIDS)) {
        Some(_) if page.limited || page.marker.is_some() => {
            return Err(Error::bad_request(
                "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported.",
            ));
        }
        Some(pattern) => matching(app, pattern).await?,
        None => read(app, ctx, &page).await?,
    };
    let more = cut(&mut nodes, page.limit) || (page.limited && page.limit > 0 && nodes.len() as u64 == page.limit);
    let mut parts = Gathered::of(app, wants_servers(ctx, query)?).await?;
    if whole {
        parts.ask_uptimes(app, ctx, &nodes).await;
    }
    let links = nodes.last().filter(|_| more && ctx.speaks(HYPERVISOR_PAGES)).map(|last| {
        let marker = view::id(ctx, last);
        let marker = marker.as_str().map_or_else(|| marker.to_string(), str::to_owned);
        json!([{"rel": "next", "href": next_href(&ctx.link(path), query, &marker)}])
    });
    let hypervisors = nodes.iter().map(|node| {
        if whole {
            serde_json::to_value(At(&view::detail(app, ctx, node, &parts.shown()), ctx.version))
        } else {
            Ok(view::brief(app, ctx, node, &parts.shown()))
        }
    });
    let mut body = json!({"hypervisors": hypervisors.collect::<Result<Vec<Value>, _>>()?});
    if let Some(links) = links {
        body["hypervisors_links"] = links;
    }
    Reply::ok(&body)
}

async fn read(app: &Nova, ctx: &Context, page: &Page) -> Result<Vec<Model>> {
    let mut query = Entity::find().order_by_asc(Column::Number).limit(page.limit + 1);
    if let Some(marker) = &page.marker {
        let known = if ctx.speaks(UUIDS) {
            Entity::find_by_id(marker).one(app.db.read()).await?
        } else {
            Entity::find().filter(Column::Number.eq(marker.parse::<i64>().unwrap_or(-1))).one(app.db.read()).await?
        };
        let known = known.ok_or_else(|| Error::bad_request(format!("marker [{marker}] not found")))?;
        query = query.filter(Column::Number.gt(known.number));
    }
    Ok(query.all(app.db.read()).await?)
}

/// The hypervisors whose name contains `pattern`; 404 for none.
async fn matching(app: &Nova, pattern: &str) -> Result<Vec<Model>> {
    let nodes = Entity::find().filter(Column::HypervisorHostname.contains(pattern)).order_by_asc(Column::Number).all(app.db.read()).await?;
    if nodes.is_empty() {
        return Err(Error::not_found(format!("No hypervisor matching '{pattern}' could be found.")));
    }
    Ok(nodes)
}

fn wants_servers(ctx: &Context, query: &Query) -> Result<bool> {
    let asked = query.get("with_servers").filter(|_| ctx.speaks(UUIDS));
    let asked = asked.map_or(Ok(false), |text| validate::boolean("with_servers", &json!(text)))?;
    Ok(asked || ctx.speaks(SERVERS_ALWAYS))
}

/// What hypervisors are shown with, read once for a whole list.
struct Gathered {
    services: HashMap<String, os_services::Model>,
    used: HashMap<String, Used>,
    servers: Option<HashMap<String, Vec<Value>>>,
    uptimes: HashMap<String, String>,
}

impl Gathered {
    async fn of(app: &Nova, with_servers: bool) -> Result<Gathered> {
        let services = os_services::compute_hosts(app).await?.into_iter().map(|service| (service.id.clone(), service)).collect();
        let mut used: HashMap<String, Used> = HashMap::new();
        let mut servers: HashMap<String, Vec<Value>> = HashMap::new();
        type Row = (Option<String>, String, i64, i64, i64, Json<Flavor>, Option<String>);
        let rows: Vec<Row> = instance::Entity::find()
            .select_only()
            .columns([
                instance::Column::Host,
                instance::Column::Id,
                instance::Column::Number,
                instance::Column::Vcpus,
                instance::Column::RamMb,
                instance::Column::Flavor,
                instance::Column::TaskState,
            ])
            .filter(instance::Column::Deleted.eq(false))
            .filter(instance::Column::Host.is_not_null())
            .into_tuple()
            .all(app.db.read())
            .await?;
        for (host, id, number, vcpus, ram_mb, flavor, task) in rows {
            let Some(host) = host else { continue };
            let sum = used.entry(host.clone()).or_default();
            sum.vcpus += vcpus;
            sum.ram_mb += ram_mb;
            sum.disk_gb += (flavor.0.root_gb + flavor.0.ephemeral_gb) as i64;
            sum.servers += 1;
            sum.busy += i64::from(task.is_some());
            if with_servers {
                servers.entry(host).or_default().push(json!({"name": format!("instance-{number:08x}"), "uuid": id}));
            }
        }
        Ok(Gathered { services, used, servers: with_servers.then_some(servers), uptimes: HashMap::new() })
    }

    /// Asks the hosts that are up how long they are, where the caller's version shows it.
    async fn ask_uptimes(&mut self, app: &Nova, ctx: &Context, nodes: &[Model]) {
        if ctx.speaks(UPTIME_SHOWN) {
            let up = |node: &&Model| self.services.get(&node.service_id).is_some_and(|s| s.is_up(app.config.service_down_time));
            let hosts: Vec<&str> = nodes.iter().filter(up).map(|node| node.host.as_str()).collect();
            self.uptimes = super::uptime::of_hosts(app, &hosts).await;
        }
    }

    fn shown(&self) -> Shown<'_> {
        Shown { services: &self.services, used: &self.used, servers: self.servers.as_ref(), uptimes: &self.uptimes }
    }
}
