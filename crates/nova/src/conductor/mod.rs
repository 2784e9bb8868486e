//! Conductor: the long actions of servers, and the database for hosts that have none.

pub mod boot;
pub mod builds;
pub mod claims;
pub mod delete;
pub mod detach;
mod hosts;
mod instances;
mod neighbours;
pub mod reconcile;

use kit::bus::Handlers;
use kit::db::Db;
use kit::flow::{Builder, Flows};
use rpc::conductor::{BuildFinished, GetInstance, GetMetadata, HostInstances, RecordEvents, ReportHost, SaveInstance, TOPIC};
use tokio::task::JoinHandle;

use crate::Nova;

/// Messages handled at once.
const CONCURRENCY: usize = 64;

/// The flows conductor runs.
pub fn flows(db: Db, app: Nova) -> Flows<Nova> {
    let probe = app.config.probe.clone();
    Builder::new(db, app).with::<boot::Boot>().with::<delete::Delete>().with::<detach::Detach>().probe(probe).build()
}

/// Answers conductor's topic.
pub fn serve(app: &Nova) -> JoinHandle<()> {
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
        RecordEvents => instances::record_events,
        BuildFinished => builds::finished,
        ReportHost => hosts::report,
    );
    app.bus.serve(TOPIC, handlers, CONCURRENCY)
}
