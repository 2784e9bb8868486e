//! What runs now and then and repairs: flows of dead processes, tasks that nobody works on, allocations, quota counts; and what gathers for a
//! moment before it is written or told.

use std::sync::OnceLock;
use std::time::Duration;

use kit::clock::Timestamp;
use kit::flow::{self, Flow};
use kit::{Result, reconcile};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QuerySelect, Set};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::delete::Delete;
use super::{heal, leftovers, overdue, unfinished};
use crate::notifications::relay;
use crate::os_services::{self, CONDUCTOR, SCHEDULER};
use crate::servers::instance::{ActiveModel, Column, Entity, addresses};
use crate::servers::states::{TaskState, VmState};
use crate::servers::store::{self, Guard};
use crate::usage_audit_log::run;
use crate::{Nova, Parts, instance_actions, quotas};

/// Starts those of a process that is these parts of nova.
pub fn start(app: &Nova, parts: Parts, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    /// A reconciler by its name, period in milliseconds and function.
    macro_rules! every {
        ($($name:literal, $millis:expr, $function:path);+ $(;)?) => {
            vec![$(reconcile::every($name, Duration::from_millis($millis), stop.clone(), {
                let app = app.clone();
                move || {
                    let app = app.clone();
                    async move { $function(&app).await }
                }
            })),+]
        };
    }
    let upkeep = u64::try_from(app.config.upkeep_interval.as_millis()).unwrap_or(u64::MAX);
    let mut tasks = every!["events", 200, events; "notifications", 100, relay::relay];
    if parts.scheduler {
        tasks.extend(every!["scheduler's heartbeat", 10_000, scheduler_beats]);
    }
    if !parts.conductor {
        return tasks;
    }
    tasks.extend(every![
        "old notifications", 60_000, relay::trim;
        "flows", 10_000, flows;
        "conductor's heartbeat", 10_000, conductor_beats;
        "stuck tasks", upkeep, stuck_tasks;
        "unfinished actions", upkeep, unfinished::let_go;
        "allocations", upkeep, heal::allocations;
        "quota usage", upkeep.saturating_mul(5), recount;
        "resizes to confirm", 10_000, overdue::confirm_resizes;
        "shelved servers", upkeep, overdue::offload_shelved;
        "deleted servers", upkeep, overdue::reclaim_deleted;
        "archive", upkeep, overdue::archive_deleted;
        "usage audit", upkeep, run::audit;
        "leftover allocations", 10_000, leftovers::give_back;
    ]);
    tasks
}

async fn events(app: &Nova) -> Result<()> {
    app.events.flush(&app.db).await
}

async fn flows(app: &Nova) -> Result<()> {
    app.flows()?.keep_alive().await?;
    app.flows()?.take_over(false).await
}

async fn conductor_beats(app: &Nova) -> Result<()> {
    beat(app, CONDUCTOR).await
}

async fn scheduler_beats(app: &Nova) -> Result<()> {
    beat(app, SCHEDULER).await
}

/// A service of this process is alive.
async fn beat(app: &Nova, service: &'static str) -> Result<()> {
    app.db.write(move |tx| Box::pin(async move { os_services::ensure(tx, own_host(), service, "internal").await.map(drop) })).await
}

/// The host that this process runs on.
pub fn own_host() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |name| name.trim().to_owned());
    NAME.get_or_init(|| std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(kernel))
}

/// Whether a flow other than a deletion works on this server.
pub async fn is_worked_on(app: &Nova, instance_id: &str) -> Result<bool> {
    let others = flow::Entity::find().filter(flow::Column::Subject.eq(instance_id)).filter(flow::Column::Kind.ne(Delete::KIND));
    Ok(others.count(app.db.read()).await? > 0)
}

/// How many flows of one kind work on this server.
pub async fn flows_of<F: Flow<App = Nova>>(app: &Nova, instance_id: &str) -> Result<u64> {
    let these = flow::Entity::find().filter(flow::Column::Subject.eq(instance_id)).filter(flow::Column::Kind.eq(F::KIND));
    Ok(these.count(app.db.read()).await?)
}

/// Ends tasks that nobody works on: a deletion begins anew, a build fails, anything else is simply over.
async fn stuck_tasks(app: &Nova) -> Result<()> {
    let before = Timestamp::now().minus(app.config.stuck_after);
    let busy = Column::TaskState.is_not_null().or(Column::VmState.eq(VmState::Building.word()));
    let stuck: Vec<(String, String, Option<String>, String, String)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::VmState, Column::TaskState, Column::UserId, Column::ProjectId])
        .filter(Column::Deleted.eq(false))
        .filter(Column::UpdatedAt.lt(before))
        .filter(busy)
        .limit(1000)
        .into_tuple()
        .all(app.db.read())
        .await?;
    for (id, vm_state, task_state, user_id, project_id) in stuck {
        if app.flows()?.busy(&id).await? {
            continue;
        }
        tracing::warn!(instance = id, vm_state, task_state, "nobody works on this task; ending it");
        if task_state.as_deref() == Some(TaskState::Deleting.word()) {
            let request_id = kit::ids::request();
            let caller = rpc::Caller { request_id, user_id, project_id, token: String::new() };
            let flow = Delete::new(caller, &id);
            let nova = app.clone();
            let flow = app.db.write(move |tx| Box::pin(async move { nova.flows()?.insert(tx, &id, &flow).await })).await?;
            app.flows()?.start(&flow);
            continue;
        }
        let guard = Guard { vm_state: Some(vm_state.clone()), task_state: Some(task_state), ..Guard::default() };
        let change = if vm_state == VmState::Building.word() {
            let message = "The build was interrupted and nobody took it up.".to_owned();
            store::failed(rpc::conductor::Fault { code: 500, details: message.clone(), message })
        } else {
            ActiveModel { task_state: Set(None), ..Default::default() }
        };
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    if store::change(tx, &id, guard, change).await? {
                        instance_actions::abandon(tx, &id).await?;
                    }
                    Ok(())
                })
            })
            .await?;
    }
    Ok(())
}

/// Counts what each project uses, and corrects its row where that is not what it says.
async fn recount(app: &Nova) -> Result<()> {
    for row in quotas::Entity::find().all(app.db.read()).await? {
        app.db.write(move |tx| Box::pin(async move { quotas::recount(tx, &row.project_id).await })).await?;
    }
    Ok(())
}

/// Asks neutron where floating IPs lead, and shows it on the server.
pub async fn refresh_addresses(app: &Nova, instance_id: &str) -> Result<()> {
    let Some(server) = store::load(app.db.read(), instance_id).await? else { return Ok(()) };
    let mut network_info = server.network_info.0.clone();
    let ports: Vec<String> = network_info.iter().map(|nic| nic.port_id.clone()).collect();
    if ports.is_empty() {
        return Ok(());
    }
    let floating = app.cloud.network.floating_ips_of(&app.session.auth("").await?, &ports).await?;
    for nic in &mut network_info {
        for ip in &mut nic.fixed_ips {
            let leads_here = floating.iter().filter(|f| f.port_id.as_ref() == Some(&nic.port_id) && f.fixed_ip_address == Some(ip.address));
            ip.floating_ips = leads_here.map(|f| f.floating_ip_address).collect();
        }
    }
    let change =
        ActiveModel { addresses: Set(addresses(&network_info)), network_info: Set(kit::db::Json(network_info)), ..Default::default() };
    store::save(app, instance_id, Guard::alive(), change).await.map(drop)
}
