//! Waiting for the members of a group: they are made and deleted by flows of their own.

use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Status, store};
use crate::Cinder;
use crate::volumes::{self, Volume, delete};

/// Between looks, and how many there are.
const PAUSE: Duration = Duration::from_millis(200);
const LOOKS: usize = 5 * 3600;

/// Looks until `done` says so; an error of it ends the wait.
pub async fn until<Fut>(what: &'static str, done: impl Fn() -> Fut + Send) -> Result<()>
where
    Fut: Future<Output = Result<bool>> + Send,
{
    for _ in 0..LOOKS {
        if done().await? {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Error::unavailable(format!("{what} takes too long")))
}

/// gather -> announce
#[derive(Serialize, Deserialize)]
pub struct MakeGroup {
    pub group_id: String,
}

impl Flow for MakeGroup {
    type App = Cinder;
    const KIND: &'static str = "make_group";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: gather / fail, announce]
    }
}

impl MakeGroup {
    async fn gather(&mut self, app: &Cinder) -> Result<()> {
        until("a group's volumes", || all_made(app.clone(), self.group_id.clone())).await
    }

    async fn fail(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        store::turn(app, &self.group_id, Status::Creating, Status::Error).await
    }

    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        store::turn(app, &self.group_id, Status::Creating, Status::Available).await
    }
}

/// empty -> forget
#[derive(Serialize, Deserialize)]
pub struct DeleteGroup {
    pub group_id: String,
}

impl Flow for DeleteGroup {
    type App = Cinder;
    const KIND: &'static str = "delete_group";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: empty / fail, forget]
    }
}

impl DeleteGroup {
    async fn empty(&mut self, app: &Cinder) -> Result<()> {
        for volume in store::volumes_of(app.db().read(), &self.group_id).await? {
            if volume.status != volumes::Status::Deleting {
                delete::promise(app, Volume { group_id: None, ..volume }, false, false).await?;
            }
        }
        until("the deletion of a group's volumes", || all_gone(app.clone(), self.group_id.clone())).await
    }

    async fn fail(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        store::turn(app, &self.group_id, Status::Deleting, Status::ErrorDeleting).await
    }

    async fn forget(&mut self, app: &Cinder) -> Result<()> {
        let id = self.group_id.clone();
        app.db()
            .write(move |tx| {
                Box::pin(async move {
                    match store::find(tx, &id).await? {
                        Some(group) => store::remove(tx, &group).await,
                        None => Ok(()),
                    }
                })
            })
            .await
    }
}

async fn all_made(app: Cinder, group_id: String) -> Result<bool> {
    let volumes = store::volumes_of(app.db().read(), &group_id).await?;
    match volumes.iter().find(|volume| volume.status == volumes::Status::Error) {
        Some(failed) => Err(Error::unavailable(format!("volume {} could not be made", failed.id))),
        None => Ok(volumes.iter().all(|volume| volume.status == volumes::Status::Available)),
    }
}

async fn all_gone(app: Cinder, group_id: String) -> Result<bool> {
    let left = store::volumes_of(app.db().read(), &group_id).await?;
    match left.iter().find(|volume| volume.status == volumes::Status::ErrorDeleting) {
        Some(failed) => Err(Error::unavailable(format!("volume {} could not be deleted", failed.id))),
        None => Ok(left.is_empty()),
    }
}
