//! Placement and the servers there are, compared host by host: a server that has nothing in placement gets what it takes, and what is held for
//! servers and moves that are over is given back. What others than nova hold is theirs.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};

use kit::Result;
use rpc::scheduler::Destination;
use sdk::Auth;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};

use super::{claims, reconcile};
use crate::hypervisors::node;
use crate::servers::instance::{Column, Entity, Model};
use crate::servers::states::VmState;
use crate::servers::store;
use crate::{Nova, archive, migrations};

/// Hosts looked at in one turn.
const SOME: u64 = 100;
/// Keys of one query.
const CHUNK: usize = 500;
/// Migrations that hold nothing any more.
const OVER: [&str; 7] = ["confirmed", "reverted", "error", "failed", "done", "completed", "cancelled"];
/// Servers in these states may have nothing: they are not on a host, or not yet.
const WITHOUT: [VmState; 3] = [VmState::Building, VmState::ShelvedOffloaded, VmState::Deleted];

/// The host that was looked at last, by its number.
#[derive(Debug, Default)]
pub struct Rounds(AtomicI64);

/// Looks at some hosts, the next ones each time.
pub async fn allocations(app: &Nova) -> Result<()> {
    let after = app.healed.0.load(Ordering::Relaxed);
    let hosts = node::Entity::find().filter(node::Column::Number.gt(after)).order_by_asc(node::Column::Number).limit(SOME);
    let hosts = hosts.all(app.db.read()).await?;
    app.healed.0.store(hosts.last().map_or(0, |host| host.number), Ordering::Relaxed);
    let auth = app.session.auth("").await?;
    for host in hosts {
        look_at(app, &auth, &host).await?;
    }
    Ok(())
}

async fn look_at(app: &Nova, auth: &Auth, host: &node::Model) -> Result<()> {
    let Some(given) = sdk::found(app.cloud.placement.provider_allocations(auth, &host.id).await)? else { return Ok(()) };
    let mine: Vec<(String, String, Option<String>)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::VmState, Column::TaskState])
        .filter(Column::Host.eq(&host.host))
        .filter(Column::Deleted.eq(false))
        .into_tuple()
        .all(app.db.read())
        .await?;
    let mut without = 0;
    for (id, vm_state, task) in &mine {
        let settled = task.is_none() && !WITHOUT.iter().any(|state| state.word() == vm_state);
        if settled && !given.allocations.contains_key(id) && !app.flows()?.busy(id).await? && !give(app, auth, host, id).await? {
            without += 1;
        }
    }
    if without > 0 {
        tracing::warn!(host = host.host, without, "servers have no allocations, and their host has no room for them");
    }
    let mine: HashSet<&str> = mine.iter().map(|(id, ..)| id.as_str()).collect();
    let strangers: Vec<String> = given.allocations.into_keys().filter(|consumer| !mine.contains(consumer.as_str())).collect();
    for consumer in orphans(app, &strangers).await? {
        tracing::warn!(consumer, host = host.host, "allocations of something that is over are given back");
        claims::release(app, &consumer).await?;
    }
    Ok(())
}

/// A server that has nothing here, and in all likelihood nowhere; false when there is no room for it.
async fn give(app: &Nova, auth: &Auth, host: &node::Model, id: &str) -> Result<bool> {
    let Some(server) = store::load(app.db.read(), id).await? else { return Ok(true) };
    let devices = store::block_devices_of(app.db.read(), id).await?;
    let resources = claims::resources(&server.flavor.0, &server.spec.0.image_properties, &devices);
    // one that takes nothing has nothing; one that has something in several places is being moved
    if resources.is_empty() || app.cloud.placement.allocations(auth, id).await?.allocations.len() > 1 {
        return Ok(true);
    }
    let here = Destination {
        host: host.host.clone(),
        node: host.hypervisor_hostname.clone(),
        resource_provider_id: host.id.clone(),
        // which of the host's networks gave its ports what is not known any more
        ports: Vec::new(),
    };
    let given = claims::claim(app, id, (&server.project_id, &server.user_id), &here, &resources).await?;
    if given {
        tracing::warn!(instance = id, host = host.host, "the server had no allocations; it has them now");
    }
    Ok(given)
}

/// Those consumers that were nova's and are over.
async fn orphans(app: &Nova, consumers: &[String]) -> Result<Vec<String>> {
    let mut orphans = Vec::new();
    for some in consumers.chunks(CHUNK) {
        let ids = || some.iter().map(String::as_str);
        let servers = Entity::find().filter(Column::Id.is_in(ids())).all(app.db.read()).await?;
        let servers: HashMap<&str, &Model> = servers.iter().map(|server| (server.id.as_str(), server)).collect();
        let moves = migrations::Entity::find().filter(migrations::Column::Id.is_in(ids())).all(app.db.read()).await?;
        let moves: HashMap<&str, &migrations::Model> = moves.iter().map(|migration| (migration.id.as_str(), migration)).collect();
        let archived = archive::archived(&app.db, some).await?;
        for consumer in some {
            let over = match (servers.get(consumer.as_str()), moves.get(consumer.as_str())) {
                (Some(server), _) => is_nowhere(app, server).await?,
                (None, Some(migration)) => {
                    OVER.contains(&migration.status.as_str()) && !reconcile::is_worked_on(app, &migration.instance_id).await?
                }
                (None, None) => archived.contains(consumer),
            };
            if over {
                orphans.push(consumer.clone());
            }
        }
    }
    Ok(orphans)
}

/// Deleted, or on no host and with nobody who looks for one.
async fn is_nowhere(app: &Nova, server: &Model) -> Result<bool> {
    let waits = server.task_state.is_some() || server.vm_state == VmState::Building.word();
    Ok(server.deleted || (server.host.is_none() && !waits && !app.flows()?.busy(&server.id).await?))
}
