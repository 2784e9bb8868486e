//! Waiting for the snapshots of a group: each is made and deleted by a flow of its own.

use kit::flow::{Flow, Step};
use kit::{Error, Result};
use sea_orm::EntityTrait;
use serde::{Deserialize, Serialize};

use super::{Entity, store};
use crate::Cinder;
use crate::groups::Status;
use crate::groups::flows::until;
use crate::snapshots::{self, Change, api::promise_removal};

/// gather -> announce
#[derive(Serialize, Deserialize)]
pub struct MakeGroupSnapshot {
    pub id: String,
}

impl Flow for MakeGroupSnapshot {
    type App = Cinder;
    const KIND: &'static str = "make_group_snapshot";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: gather / fail, announce]
    }
}

impl MakeGroupSnapshot {
    async fn gather(&mut self, app: &Cinder) -> Result<()> {
        until("the snapshots of a group", || all_made(app.clone(), self.id.clone())).await
    }

    async fn fail(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        store::turn(app, &self.id, Status::Creating, Status::Error).await
    }

    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        store::turn(app, &self.id, Status::Creating, Status::Available).await
    }
}

/// empty -> forget
#[derive(Serialize, Deserialize)]
pub struct DeleteGroupSnapshot {
    pub id: String,
}

impl Flow for DeleteGroupSnapshot {
    type App = Cinder;
    const KIND: &'static str = "delete_group_snapshot";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: empty / fail, forget]
    }
}

impl DeleteGroupSnapshot {
    async fn empty(&mut self, app: &Cinder) -> Result<()> {
        for snapshot in store::snapshots_of(app.db().read(), &self.id).await? {
            if snapshot.status != snapshots::Status::Deleting {
                promise_removal(app.clone(), None, snapshot, Change::ForceDelete).await?;
            }
        }
        until("the deletion of a group's snapshots", || all_gone(app.clone(), self.id.clone())).await
    }

    async fn fail(&mut self, app: &Cinder, _: &Error) -> Result<()> {
        store::turn(app, &self.id, Status::Deleting, Status::ErrorDeleting).await
    }

    async fn forget(&mut self, app: &Cinder) -> Result<()> {
        let id = self.id.clone();
        app.db()
            .write(move |tx| {
                Box::pin(async move {
                    Entity::delete_by_id(id).exec(tx).await?;
                    Ok(())
                })
            })
            .await
    }
}

async fn all_made(app: Cinder, id: String) -> Result<bool> {
    let all = store::snapshots_of(app.db().read(), &id).await?;
    match all.iter().find(|snapshot| snapshot.status == snapshots::Status::Error) {
        Some(failed) => Err(Error::unavailable(format!("snapshot {} could not be made", failed.id))),
        None => Ok(all.iter().all(|snapshot| snapshot.status == snapshots::Status::Available)),
    }
}

async fn all_gone(app: Cinder, id: String) -> Result<bool> {
    let left = store::snapshots_of(app.db().read(), &id).await?;
    match left.iter().find(|snapshot| snapshot.status == snapshots::Status::ErrorDeleting) {
        Some(failed) => Err(Error::unavailable(format!("snapshot {} could not be deleted", failed.id))),
        None => Ok(left.is_empty()),
    }
}
