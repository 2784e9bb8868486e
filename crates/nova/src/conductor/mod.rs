//! Conductor: the long actions of servers, and the database for hosts that have none.

pub mod attach;
pub mod boot;
pub mod builds;
pub mod claims;
pub mod delete;
pub mod detach;
pub mod evacuate;
pub mod extend_volume;
mod fencing;
pub mod handover;
pub mod heal;
pub mod host_task;
pub mod hosts;
mod instances;
mod leftovers;
pub mod live_migrate;
mod neighbours;
mod overdue;
mod place;
pub mod plug;
pub mod port_claims;
pub mod reconcile;
pub mod resize;
pub mod resized;
pub mod shelve;
pub mod snapshot;
pub mod swap;
mod unfinished;
pub mod unplug;
pub mod unshelve;
pub mod volume_snapshot;

use kit::bus::Handlers;
use kit::db::{Db, Json};
use kit::flow::{Builder, Flows};
use kit::{Error, Kind, Result};
use rpc::Caller;
use rpc::conductor::{
    BuildFinished, Fault, GetInstance, GetMetadata, HostInstances, ReachFlow, RecordEvents, ReportHost, RunFlow, SaveInstance,
    SavePassword, TOPIC, own_topic,
};
use rpc::live_migration::MigrationProgress;
use sea_orm::Set;
use tokio::task::JoinHandle;

use crate::servers::instance::{ActiveModel, Model};
use crate::servers::states::TaskState;
use crate::servers::store::{self, Guard};
use crate::{Nova, instance_actions};

/// Messages handled at once.
const CONCURRENCY: usize = 64;

/// The flows conductor runs.
pub fn flows(db: Db, app: Nova) -> Flows<Nova> {
    let probe = app.config.probe.clone();
    let elsewhere = (!app.config.conduct).then(|| handover::tell(&app));
    Builder::new(db, app)
        .with::<boot::Boot>()
        .with::<delete::Delete>()
        .with::<attach::Attach>()
        .with::<detach::Detach>()
        .with::<host_task::HostTask>()
        .with::<snapshot::Snapshot>()
        .with::<resize::Resize>()
        .with::<resized::Confirm>()
        .with::<resized::Revert>()
        .with::<evacuate::Evacuate>()
        .with::<live_migrate::LiveMigrate>()
        .with::<shelve::Shelve>()
        .with::<shelve::Offload>()
        .with::<unshelve::Unshelve>()
        .with::<swap::Swap>()
        .with::<extend_volume::Extend>()
        .with::<plug::Plug>()
        .with::<unplug::Unplug>()
        .probe(probe)
        .elsewhere(elsewhere)
        .build()
}

/// Answers the topic of all conductors, and this one's own.
pub fn serve(app: &Nova) -> Result<[JoinHandle<()>; 2]> {
    /// Each message to its function.
    macro_rules! on {
        ($handlers:expr, $($message:ty => $function:path),+ $(,)?) => {
            $handlers$(.on({
                let app = app.clone();
                move |message: $message| {
                    let app = app.clone();
                    async move { $function(&app, message).await }
                }
            }))+
        };
    }
    let handlers = on!(Handlers::new(),
        GetInstance => instances::get,
        SaveInstance => instances::save,
        HostInstances => instances::of_host,
        GetMetadata => instances::metadata,
        SavePassword => instances::save_password,
        RecordEvents => instances::record_events,
        BuildFinished => builds::finished,
        ReportHost => hosts::report,
        MigrationProgress => live_migrate::progress,
        RunFlow => handover::run,
        ReachFlow => handover::reached,
    );
    let own = own_topic(app.flows()?.owner());
    Ok([TOPIC, own.as_str()].map(|topic| app.bus.serve(topic, handlers.clone(), CONCURRENCY)))
}

/// The code of the error that means: the server is gone or going.
pub const GONE: &str = "instance_gone";

/// What a flow fails with when the server is gone or going.
pub fn gone() -> Error {
    Error::conflict("The server is being deleted.").code(GONE)
}

/// The server a flow works on, unless it is gone or going.
pub async fn alive(app: &Nova, instance_id: &str) -> Result<Model> {
    let server = store::load(app.db.read(), instance_id).await?;
    let server = server.filter(|server| server.task_state.as_deref() != Some(TaskState::Deleting.word()));
    server.ok_or_else(gone)
}

/// An error as a server shows it: the user's own mistakes in their words, ours with the code 500.
pub fn fault(error: &Error) -> Fault {
    let code = if error.kind.status().is_client_error() { error.kind.status().as_u16() } else { 500 };
    let message = if error.kind == Kind::Internal { "The action failed.".to_owned() } else { error.message.clone() };
    Fault { code, message, details: error.to_string() }
}

/// The end of an action that failed and was taken back: no task, the server as it was, and a fault that says why.
pub async fn settle(app: &Nova, caller: &Caller, instance_id: &str, during: &'static [TaskState], error: &Error) -> Result<()> {
    let change = ActiveModel { fault: Set(Some(Json(store::stored(fault(error))))), ..Default::default() };
    end_action(app, caller, instance_id, during, change, true).await
}

/// The end of an action: no task, what changed, and the record. A server that is going meanwhile, or with which something other than `during`
/// is done by now, is left alone.
pub async fn end_action(
    app: &Nova,
    caller: &Caller,
    instance_id: &str,
    during: &'static [TaskState],
    mut change: ActiveModel,
    failed: bool,
) -> Result<()> {
    change.task_state = Set(None);
    let (id, request) = (instance_id.to_owned(), caller.request_id.clone());
    app.db
        .write(move |tx| {
            Box::pin(async move {
                store::change(tx, &id, Guard { during: Some(during), ..Guard::alive() }, change).await?;
                instance_actions::end(tx, &id, &request, failed).await
            })
        })
        .await
}
