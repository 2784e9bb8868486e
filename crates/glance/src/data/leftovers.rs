//! Objects that no image has any more. They are noted in the transaction that makes them so, and removed after it; what a crash or a
//! silent store keeps from being removed is tried again.

use kit::Result;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, EntityTrait, IntoActiveModel, QuerySelect};

use crate::Glance;
use crate::entity::leftover;

/// The store of what is only staged: the scratch directory.
const STAGING: &str = "";
/// Leftovers looked at in one round.
const ROUND: u64 = 1000;

pub fn object(store: &str, name: &str) -> leftover::Model {
    leftover::Model { store: store.to_owned(), name: name.to_owned() }
}

pub fn staged(image_id: &str) -> leftover::Model {
    object(STAGING, image_id)
}

/// Notes what is to be removed.
pub async fn note(tx: &DatabaseTransaction, rows: &[leftover::Model]) -> Result<()> {
    let twice = OnConflict::columns([leftover::Column::Store, leftover::Column::Name]).do_nothing().to_owned();
    for row in rows {
        match leftover::Entity::insert(row.clone().into_active_model()).on_conflict(twice.clone()).exec_without_returning(tx).await {
            Ok(_) | Err(sea_orm::DbErr::RecordNotInserted) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Removes what was noted. What cannot be removed now stays noted.
pub async fn clear(app: &Glance, rows: Vec<leftover::Model>) {
    let mut gone = Vec::new();
    for row in rows {
        match remove(app, &row).await {
            Ok(()) => gone.push(row),
            Err(error) => tracing::warn!(store = row.store, name = row.name, %error, "an object could not be removed yet"),
        }
    }
    if gone.is_empty() {
        return;
    }
    let forgotten = app.db.write(move |tx| {
        Box::pin(async move {
            for row in gone {
                leftover::Entity::delete_by_id((row.store, row.name)).exec(tx).await?;
            }
            Ok(())
        })
    });
    if let Err(error) = forgotten.await {
        tracing::warn!(%error, "objects that were removed will be looked for again");
    }
}

/// Tries again what earlier rounds could not remove.
pub async fn retry(app: &Glance) -> Result<()> {
    clear(app, leftover::Entity::find().limit(ROUND).all(app.db.read()).await?).await;
    Ok(())
}

async fn remove(app: &Glance, row: &leftover::Model) -> Result<()> {
    if row.store == STAGING { app.scratch.unstage(&row.name).await } else { app.stores.remove(&row.store, &row.name).await }
}
