//! The end of one server, at any moment of whatever else happens to it:
//!
//! ```text
//!   wait_for_others -> whatever is under way sees the server go, and undoes itself
//!   end_guest       -> the host ends the guest and what it has there        undo: set ERROR
//!   release         -> ports, attachments, claims, what moves left behind, the image it was shelved as
//!   forget          -> the row is deleted, and its quota free
//! ```

use std::time::Duration;

use kit::clock::Timestamp;
use kit::flow::{Flow, Step};
use kit::{Error, Kind, Result, steps};
use rpc::Caller;
use rpc::compute::{TerminateInstance, compute_topic};
use rpc::conductor::{BuildOutcome, Fault};
use sea_orm::Set;
use serde::{Deserialize, Serialize};

use super::{claims, neighbours};
use crate::instance_actions;
use crate::servers::instance::{ActiveModel, FinishedBuild};
use crate::servers::states::VmState;
use crate::servers::store::{self, Guard};
use crate::{Nova, migrations, os_services, quotas, server_groups};

/// How long others may take to see that it is over.
const OTHERS_END: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(50);

/// What the journal keeps.
#[derive(Serialize, Deserialize)]
pub struct Delete {
    caller: Caller,
    instance_id: String,
}

impl Flow for Delete {
    type App = Nova;
    const KIND: &'static str = "delete";

    fn steps() -> Vec<Step<Self>> {
        steps![Self: wait_for_others, end_guest / keep, release, forget]
    }
}

impl Delete {
    pub fn new(caller: Caller, instance_id: &str) -> Delete {
        Delete { caller, instance_id: instance_id.to_owned() }
    }

    async fn wait_for_others(&mut self, app: &Nova) -> Result<()> {
        let gone = FinishedBuild { host: self.host(app).await?.unwrap_or_default(), outcome: BuildOutcome::Gone };
        // nobody may be waiting; then there is nothing to hurry
        let _ = app.builds.tell(&self.instance_id, gone);
        let deadline = tokio::time::Instant::now() + OTHERS_END;
        while super::reconcile::is_worked_on(app, &self.instance_id).await? {
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::new(Kind::TimedOut, "What is done with the server does not end."));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn end_guest(&mut self, app: &Nova) -> Result<()> {
        let Some(host) = self.host(app).await? else { return Ok(()) };
        let message = TerminateInstance { caller: self.caller.clone(), instance_id: self.instance_id.clone() };
        terminate(app, &host, message).await
    }

    /// The guest could not be ended: the server stays, in ERROR, and can be deleted again.
    async fn keep(&mut self, app: &Nova, error: &Error) -> Result<()> {
        let fault = Fault { code: 500, message: "The server could not be deleted.".into(), details: error.to_string() };
        let (id, request) = (self.instance_id.clone(), self.caller.request_id.clone());
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    store::change(tx, &id, Guard::default(), store::failed(fault)).await?;
                    instance_actions::end(tx, &id, &request, true).await
                })
            })
            .await
    }

    async fn release(&mut self, app: &Nova) -> Result<()> {
        neighbours::release(app, &self.instance_id).await?;
        claims::release(app, &self.instance_id).await?;
        for migration in migrations::moves_of(app.db.read(), &self.instance_id).await? {
            self.settle_move(app, &migration).await?;
        }
        self.discard_image(app).await
    }

    /// What a resize that was neither confirmed nor reverted left at its source, and in placement.
    async fn settle_move(&self, app: &Nova, migration: &migrations::Model) -> Result<()> {
        if let Some(source) = &migration.source_host
            && os_services::is_up(app, source).await?
        {
            super::resized::forget_source(app, &self.caller, migration).await?;
        }
        claims::release(app, &migration.id).await?;
        let id = migration.id.clone();
        app.db.write(move |tx| Box::pin(async move { migrations::set_status(tx, &id, "confirmed").await })).await
    }

    /// The image of a shelved server is of no use without it.
    async fn discard_image(&self, app: &Nova) -> Result<()> {
        let server = store::load(app.db.read(), &self.instance_id).await?;
        let Some(image) = server.and_then(|server| server.shelved?.0.image_id) else { return Ok(()) };
        let auth = app.session.on_behalf(&self.caller).await?;
        if let Err(error) = sdk::found(app.cloud.image.delete(&auth, &image).await) {
            tracing::warn!(image, %error, "the image of a shelved server was left");
        }
        Ok(())
    }

    async fn forget(&mut self, app: &Nova) -> Result<()> {
        app.builds.forget(&self.instance_id);
        let (id, request) = (self.instance_id.clone(), self.caller.request_id.clone());
        app.db
            .write(move |tx| {
                Box::pin(async move {
                    let Some(server) = store::load(tx, &id).await? else { return Ok(()) };
                    let now = Some(Timestamp::now());
                    let change = ActiveModel {
                        deleted: Set(true),
                        vm_state: Set(VmState::Deleted.word().into()),
                        task_state: Set(None),
                        power_state: Set(0),
                        terminated_at: Set(now),
                        deleted_at: Set(now),
                        ..Default::default()
                    };
                    if store::change(tx, &id, Guard::default(), change).await? {
                        let need = quotas::Need { cores: server.vcpus, ram: server.ram_mb };
                        quotas::add(tx, &server.project_id, need, -1).await?;
                        server_groups::leave(tx, &id).await?;
                    }
                    instance_actions::end(tx, &id, &request, false).await
                })
            })
            .await
    }

    async fn host(&self, app: &Nova) -> Result<Option<String>> {
        Ok(store::load(app.db.read(), &self.instance_id).await?.and_then(|server| server.host))
    }
}

/// Ends a guest on its host. A host that is down is let be: when it comes back it finds that the guest is nobody's, and ends it.
pub async fn terminate(app: &Nova, host: &str, message: TerminateInstance) -> Result<()> {
    if !os_services::is_up(app, host).await? {
        tracing::warn!(host, instance = message.instance_id, "the host is down; its guest is ended when it comes back");
        return Ok(());
    }
    app.bus.call(&compute_topic(host), message, app.config.terminate_timeout).await
}
