//! Builds under way: who waits for which, and what hosts said when nobody waited.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kit::Result;
use kit::db::Json;
use rpc::conductor::{BuildFinished, BuildOutcome};
use sea_orm::Set;
use tokio::sync::oneshot;

use crate::Nova;
use crate::servers::instance::{ActiveModel, FinishedBuild};
use crate::servers::store::{self, Guard};

/// Passwords kept at once, at most.
const PASSWORDS: usize = 10_000;

/// What this process knows of builds beyond the database.
#[derive(Default)]
pub struct Builds {
    waiting: Mutex<HashMap<String, oneshot::Sender<FinishedBuild>>>,
    /// Of servers not yet built; in memory only, because they are never written in clear.
    passwords: Mutex<HashMap<String, String>>,
    /// Server to the request that asked for it, for the steps that conductor takes in its name.
    requests: Mutex<HashMap<String, String>>,
}

impl Builds {
    /// Waits for the end of a server's build. There is one waiter for a server; a new one replaces the old.
    pub fn wait(&self, instance_id: &str) -> oneshot::Receiver<FinishedBuild> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(instance_id.to_owned(), sender);
        receiver
    }

    /// Nobody waits any longer.
    pub fn forget(&self, instance_id: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(instance_id);
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner).remove(instance_id);
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).remove(instance_id);
    }

    pub fn keep_request(&self, instance_id: &str, request_id: &str) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).insert(instance_id.to_owned(), request_id.to_owned());
    }

    pub fn request_of(&self, instance_id: &str) -> Option<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).get(instance_id).cloned()
    }

    /// Tells the waiter, if there is one here.
    pub fn tell(&self, instance_id: &str, finished: FinishedBuild) -> Result<(), FinishedBuild> {
        match self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(instance_id) {
            Some(waiter) => waiter.send(finished),
            None => Err(finished),
        }
    }

    pub fn keep_password(&self, instance_id: &str, password: &str) {
        let mut passwords = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        if passwords.len() < PASSWORDS {
            passwords.insert(instance_id.to_owned(), password.to_owned());
        }
    }

    pub fn password(&self, instance_id: &str) -> Option<String> {
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner).get(instance_id).cloned()
    }
}

/// A host says how a build ended: to the flow that waits here, or into the database for the one that will look.
pub async fn finished(app: &Nova, message: BuildFinished) -> Result<()> {
    let finished = FinishedBuild { host: message.host, outcome: message.outcome };
    let Err(finished) = app.builds.tell(&message.instance_id, finished) else { return Ok(()) };
    // the server itself says that it runs, or that it is gone
    if matches!(finished.outcome, BuildOutcome::Running | BuildOutcome::Gone) {
        return Ok(());
    }
    let guard = Guard { host: Some(Some(finished.host.clone())), ..Guard::alive() };
    let change = ActiveModel { build_outcome: Set(Some(Json(finished))), ..Default::default() };
    store::save(app, &message.instance_id, guard, change).await.map(drop)
}
