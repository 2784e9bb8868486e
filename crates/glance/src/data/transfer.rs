//! Bytes on their way to an image, as the database knows them.
//!
//! A transfer is noted before its first byte is written and forgotten in the transaction that makes the image active or takes it back.
//! So whoever finds one whose process is gone knows which objects to remove and what state the image goes back to.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::clock::Timestamp;
use kit::{Error, Kind, Result, ids};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter};

use super::{leftovers, probe};
use crate::entity::{Status, TaskStatus, image, leftover, location, property, task, transfer};
use crate::fault::{no_image, transition};
use crate::images::store;
use crate::{Glance, quota, tasks};

/// A process that has not said for so long that it lives has died.
const SILENCE: Duration = Duration::from_secs(120);

pub const IMPORTING: &str = "os_glance_importing_to_stores";
pub const FAILED: &str = "os_glance_failed_import";

/// What is about to happen.
pub struct Plan {
    pub from: Status,
    /// Where the image is while its bytes are on their way.
    pub to: Status,
    /// Where it goes if this process dies.
    pub back_to: Status,
    /// Where the bytes go; nowhere when they are only staged.
    pub stores: Vec<String>,
    /// One store that fails fails all.
    pub all_must_succeed: bool,
    pub task: Option<task::Model>,
}

/// A transfer that was noted.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub image_id: String,
    /// What the object is called in the stores, in this transfer and no other.
    pub name: String,
    pub stores: Vec<String>,
    pub all_must_succeed: bool,
    /// Where the image is meanwhile.
    pub during: Status,
    /// Custom properties that the image gets with its bytes.
    pub adopts: BTreeMap<String, String>,
    task_id: Option<String>,
}

impl Transfer {
    /// The same, of an image that gets these properties with its bytes.
    pub fn adopting(&self, adopts: BTreeMap<String, String>) -> Transfer {
        Transfer { adopts, ..self.clone() }
    }
}

/// Takes the image to the state that says its bytes are on their way; 409 when it is in another than the plan's, or already under way.
pub async fn begin(app: &Glance, image: &image::Model, plan: Plan) -> Result<Transfer> {
    let (id, owner) = (image.id.clone(), image.owner.clone());
    let transfer = Transfer {
        name: format!("{id}-{}", ids::hex().get(..8).unwrap_or_default()),
        image_id: id,
        stores: plan.stores.clone(),
        all_must_succeed: plan.all_must_succeed,
        during: plan.to,
        adopts: BTreeMap::new(),
        task_id: plan.task.as_ref().map(|task| task.id.clone()),
    };
    let row = transfer::Model {
        image_id: transfer.image_id.clone(),
        node: app.settings.node.clone(),
        name: transfer.name.clone(),
        stores: plan.stores.join(","),
        back_to: plan.back_to,
        task_id: transfer.task_id.clone(),
        alive_at: Timestamp::now(),
    };
    let limits = quota::of(app, &image.owner).await?;
    app.working.begin(&row.name);
    let noted = app.db.write(move |tx| {
        Box::pin(async move {
            if plan.from != plan.to {
                quota::check_uploading(tx, &owner, &limits).await?;
            }
            note(tx, row, plan).await
        })
    });
    if let Err(error) = noted.await {
        app.working.end(&transfer.name);
        return Err(error);
    }
    Ok(transfer)
}

async fn note(tx: &DatabaseTransaction, row: transfer::Model, plan: Plan) -> Result<()> {
    let id = row.image_id.clone();
    if !store::advance(tx, &id, plan.from, plan.to).await? {
        let now = store::fetch(tx, &id).await?.ok_or_else(|| no_image(&id))?.row.status;
        return Err(transition(now.as_str(), plan.to.as_str()));
    }
    match transfer::Entity::insert(row.into_active_model()).exec_without_returning(tx).await {
        Ok(_) => {}
        Err(error) if kit::db::is_duplicate(&error) => {
            return Err(Error::conflict(format!("Image {id} has another import or upload in progress.")));
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(task) = plan.task {
        set_property(tx, &id, IMPORTING, &plan.stores.join(",")).await?;
        set_property(tx, &id, FAILED, "").await?;
        tasks::insert(tx, task).await?;
    }
    Ok(())
}

/// The bytes are in the stores `kept`: the image is active.
pub async fn activate(app: &Glance, transfer: &Transfer, filled: image::Model, kept: Vec<String>) -> Result<()> {
    let limits = quota::of(app, &filled.owner).await?;
    let (this, node) = (transfer.clone(), app.settings.node.clone());
    let failed: Vec<String> = this.stores.iter().filter(|store| !kept.contains(store)).cloned().collect();
    let mut rows: Vec<leftover::Model> = failed.iter().map(|store| leftovers::object(store, &this.name)).collect();
    if this.during == Status::Importing {
        rows.push(leftovers::staged(&this.image_id));
    }
    let left = rows.clone();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                forget(tx, &this, &node).await?;
                if !store::fill(tx, &filled, this.during).await? {
                    return Err(Error::new(Kind::Gone, format!("Image {} was deleted during the upload.", this.image_id)));
                }
                for (name, value) in &this.adopts {
                    set_property(tx, &this.image_id, name, value).await?;
                }
                for store in &kept {
                    let row = location::Model { image_id: this.image_id.clone(), store: store.clone(), name: this.name.clone() };
                    location::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
                }
                quota::check_size(tx, &filled.owner, &limits, 0).await?;
                leftovers::note(tx, &rows).await?;
                if let Some(task) = &this.task_id {
                    set_property(tx, &this.image_id, IMPORTING, "").await?;
                    set_property(tx, &this.image_id, FAILED, &failed.join(",")).await?;
                    let message = format!("Copied {} MiB", filled.size.unwrap_or(0) >> 20);
                    tasks::finish(tx, task, TaskStatus::Success, &message).await?;
                }
                Ok(())
            })
        })
        .await?;
    app.working.end(&transfer.name);
    probe::after(app, "activate").await?;
    leftovers::clear(app, left).await;
    Ok(())
}

/// The staged data is whole: the image stays where it is until it is imported.
pub async fn staged(app: &Glance, transfer: &Transfer, owner: String, size: u64) -> Result<()> {
    let limits = quota::of(app, &owner).await?;
    let (this, node) = (transfer.clone(), app.settings.node.clone());
    let done = app.db.write(move |tx| {
        Box::pin(async move {
            forget(tx, &this, &node).await?;
            let size = image::Entity::update_many()
                .col_expr(image::Column::Size, Expr::val(size as i64))
                .filter(image::Column::Id.eq(&this.image_id))
                .filter(image::Column::Status.eq(Status::Uploading));
            if size.exec(tx).await?.rows_affected == 0 {
                return Err(Error::new(Kind::Gone, format!("Image {} was deleted during the upload.", this.image_id)));
            }
            quota::check_staged(tx, &owner, &limits, 0).await
        })
    });
    done.await?;
    app.working.end(&transfer.name);
    probe::after(app, "activate").await
}

/// It did not work: the image goes to `back_to`, and what was written is removed.
pub async fn fail(app: &Glance, transfer: &Transfer, back_to: Status, error: &Error) {
    let key = transfer::Entity::find_by_id(transfer.image_id.clone()).filter(transfer::Column::Name.eq(&transfer.name));
    let undone = match key.one(app.db.read()).await {
        Ok(Some(mut row)) => {
            row.back_to = back_to;
            undo(app, row, error.message.clone()).await
        }
        // somebody has undone it, or deleted the image's row with its transaction
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    app.working.end(&transfer.name);
    if let Err(error) = undone {
        tracing::error!(image = transfer.image_id, %error, "an upload that failed could not be taken back yet");
    }
}

/// Takes a transfer back, whosever it was.
pub async fn undo(app: &Glance, row: transfer::Model, why: String) -> Result<()> {
    let rows = app.db.write(move |tx| Box::pin(async move { take_back(tx, row, &why).await })).await?;
    leftovers::clear(app, rows).await;
    Ok(())
}

async fn take_back(tx: &DatabaseTransaction, row: transfer::Model, why: &str) -> Result<Vec<leftover::Model>> {
    let mine = Condition::all().add(transfer::Column::ImageId.eq(&row.image_id)).add(transfer::Column::Name.eq(&row.name));
    if transfer::Entity::delete_many().filter(mine).exec(tx).await?.rows_affected == 0 {
        return Ok(Vec::new());
    }
    let kept = location::Entity::find().filter(location::Column::Name.eq(&row.name)).all(tx).await?;
    let unused = |store: &&str| !store.is_empty() && !kept.iter().any(|location| location.store == **store);
    let mut rows: Vec<_> = row.stores.split(',').filter(unused).map(|store| leftovers::object(store, &row.name)).collect();
    for during in [Status::Saving, Status::Uploading, Status::Importing] {
        store::advance(tx, &row.image_id, during, row.back_to).await?;
    }
    if row.back_to == Status::Queued {
        rows.push(leftovers::staged(&row.image_id));
    }
    leftovers::note(tx, &rows).await?;
    if let Some(task) = &row.task_id {
        if image::Entity::find_by_id(row.image_id.clone()).one(tx).await?.is_some() {
            set_property(tx, &row.image_id, IMPORTING, "").await?;
            set_property(tx, &row.image_id, FAILED, &row.stores).await?;
        }
        tasks::finish(tx, task, TaskStatus::Failure, why).await?;
    }
    Ok(rows)
}

/// The transfers whose process is gone: this node's that nobody here works on, and those of nodes that are silent.
pub async fn abandoned(app: &Glance) -> Result<Vec<transfer::Model>> {
    let silent = transfer::Column::AliveAt.lt(Timestamp::now().minus(SILENCE).0);
    let own = transfer::Column::Node.eq(&app.settings.node);
    let rows = transfer::Entity::find().filter(Condition::any().add(silent).add(own)).all(app.db.read()).await?;
    Ok(rows.into_iter().filter(|row| row.node != app.settings.node || !app.working.has(&row.name)).collect())
}

/// Says that this process lives, for each transfer it works on.
pub async fn renew(app: &Glance) -> Result<()> {
    if app.working.is_empty() {
        return Ok(());
    }
    let own = transfer::Column::Node.eq(&app.settings.node);
    let alive = transfer::Entity::update_many().col_expr(transfer::Column::AliveAt, Expr::val(Timestamp::now().0)).filter(own);
    app.db.write(move |tx| Box::pin(async move { Ok(alive.exec(tx).await.map(drop)?) })).await
}

/// Removes the note; an error when somebody has taken the transfer back meanwhile.
async fn forget(tx: &DatabaseTransaction, this: &Transfer, node: &str) -> Result<()> {
    let mine = Condition::all()
        .add(transfer::Column::ImageId.eq(&this.image_id))
        .add(transfer::Column::Name.eq(&this.name))
        .add(transfer::Column::Node.eq(node));
    if transfer::Entity::delete_many().filter(mine).exec(tx).await?.rows_affected == 1 {
        return Ok(());
    }
    Err(Error::new(Kind::Gone, format!("The upload of image {} took too long and was given up.", this.image_id)))
}

/// An import for which nothing is left to do: it has ended well as soon as it is there.
pub async fn nothing(app: &Glance, image_id: String, task: task::Model) -> Result<()> {
    let done = app.db.write(move |tx| {
        Box::pin(async move {
            set_property(tx, &image_id, IMPORTING, "").await?;
            set_property(tx, &image_id, FAILED, "").await?;
            let id = task.id.clone();
            tasks::insert(tx, task).await?;
            tasks::finish(tx, &id, TaskStatus::Success, "Copied 0 MiB").await
        })
    });
    done.await
}

/// Sets a property. One of glance's own stays when it is empty: clients tell by that an import has ended.
async fn set_property(tx: &DatabaseTransaction, id: &str, name: &str, value: &str) -> Result<()> {
    property::Entity::delete_by_id((id.to_owned(), name.to_owned())).exec(tx).await?;
    let row = property::Model { image_id: id.to_owned(), name: name.to_owned(), value: value.to_owned() };
    property::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}
