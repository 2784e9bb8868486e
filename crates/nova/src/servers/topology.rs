//! `GET /servers/{id}/topology`, since 2.78: the NUMA nodes of a guest, and for administrators where on its host they are.

use kit::policy::Target;
use kit::{Context, Path, Reply, Result};
use rpc::numa::{Placed, PlacedCell, WantedCell};
use serde_json::{Value, json};

use super::instance::Model;
use super::store;
use crate::{Nova, numa};

pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let server = store::fetch(&app, &ctx, &id.0).await?;
    let of_host = ctx.allows("compute:server:topology:host:index", &Target::project(&server.project_id));
    Reply::ok(&of(&server, of_host))
}

fn of(server: &Model, of_host: bool) -> Value {
    let Some(wanted) = numa::of_server(&server.flavor.0, &server.spec.0.image_properties) else {
        return json!({"nodes": [], "pagesize_kb": null});
    };
    // one that no host has taken yet is nowhere
    let given = server.numa_topology.as_ref().filter(|given| given.0.wanted == wanted).map(|given| &given.0);
    let cell = |(index, cell): (usize, &WantedCell)| node(index, cell, given, of_host);
    let nodes: Vec<Value> = wanted.cells.iter().enumerate().map(cell).collect();
    let pages = given.and_then(|given| given.cells.iter().rev().find_map(|cell| cell.page_kb));
    json!({"nodes": nodes, "pagesize_kb": pages})
}

fn node(index: usize, cell: &WantedCell, given: Option<&Placed>, of_host: bool) -> Value {
    let mut node = json!({"vcpu_set": cell.all_cpus(), "siblings": [], "memory_mb": cell.memory_mb});
    if of_host {
        let given: Option<&PlacedCell> = given.and_then(|given| given.cells.get(index));
        node["host_node"] = json!(given.map_or(index as u32, |given| given.host));
        node["cpu_pinning"] = json!(given.map(|given| given.pins.clone()).unwrap_or_default());
    }
    node
}
