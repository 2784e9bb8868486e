//! Queries about volumes. A status changes only by a conditional update, so of two who want the same volume one wins.

use std::collections::{BTreeMap, HashMap};

use kit::clock::Timestamp;
use kit::{Error, Result};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveEnum, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Set};

use super::status::{Change, settle};
use super::{ActiveModel, Column, Entity, Status, Volume};
use crate::{Cinder, attachments, keys, transfers};

/// Which metadata: the user's own, the image's it was made from, or what cinder itself says among the user's, who cannot change it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    User,
    Image,
    Admin,
}

impl Kind {
    pub fn text(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Image => "image",
            Kind::Admin => "admin",
        }
    }
}

/// `volume_metadata`
pub mod pairs {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "volume_metadata")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub volume_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub key: String,
        pub value: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub async fn find(db: &impl ConnectionTrait, id: &str) -> Result<Option<Volume>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}

/// Under which id the storage keeps a volume's data.
pub async fn data_id(app: &Cinder, id: &str) -> Result<String> {
    Ok(find(app.db().read(), id).await?.map_or_else(|| id.to_owned(), |volume| volume.data_id().to_owned()))
}

/// The volume whose data the storage keeps under an id.
pub async fn of_data(db: &impl ConnectionTrait, data_id: &str) -> Result<Option<Volume>> {
    match Entity::find().filter(Column::NameId.eq(data_id)).one(db).await? {
        Some(volume) => Ok(Some(volume)),
        None => find(db, data_id).await,
    }
}

/// The volume, or the sentence that it is not there.
pub async fn fetch(db: &impl ConnectionTrait, id: &str) -> Result<Volume> {
    find(db, id).await?.ok_or_else(|| not_found(id))
}

pub fn not_found(id: &str) -> Error {
    Error::not_found(format!("Volume {id} could not be found.")).code("VolumeNotFound")
}

/// Changes the status if the table allows it now; false when it does not.
pub async fn change(tx: &impl ConnectionTrait, id: &str, change: Change) -> Result<bool> {
    let (from, to) = change.rule();
    let update = Entity::update_many()
        .filter(Column::Id.eq(id))
        .filter(Column::Status.is_in(from.iter().copied()))
        .col_expr(Column::Status, Expr::value(to.to_value()))
        .col_expr(Column::UpdatedAt, Expr::value(Timestamp::now()));
    Ok(update.exec(tx).await?.rows_affected == 1)
}

/// The same, or 400 in cinder's words.
pub async fn change_or_refuse(tx: &impl ConnectionTrait, id: &str, to: Change) -> Result<()> {
    if change(tx, id, to).await? {
        return Ok(());
    }
    let volume = fetch(tx, id).await?;
    let allowed: Vec<String> = to.rule().0.iter().map(|status| status.text()).collect();
    Err(invalid(format!(
        "Volume status must be {} to {}, but current status is: {}.",
        allowed.join(" or "),
        to.verb(),
        volume.status.text()
    )))
}

/// 400 for a volume in the wrong state.
pub fn invalid(why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid volume: {why}")).code("InvalidVolume")
}

/// Ends a busy state well: the attachments say whether the volume is in use again. Nothing happens when it is not in that state.
pub async fn finish(tx: &impl ConnectionTrait, id: &str, ended: Change) -> Result<()> {
    if change(tx, id, ended).await? {
        follow_attachments(tx, &fetch(tx, id).await?).await?;
    }
    Ok(())
}

/// Takes the volume's row for this transaction: whoever else wants it waits.
pub async fn lock(tx: &impl ConnectionTrait, id: &str) -> Result<Volume> {
    let touch = Entity::update_many().filter(Column::Id.eq(id)).col_expr(Column::UpdatedAt, Expr::value(Timestamp::now()));
    touch.exec(tx).await?;
    fetch(tx, id).await
}

/// Makes the status what the attachments say, where they decide. Call with the row locked.
pub async fn follow_attachments(tx: &impl ConnectionTrait, volume: &Volume) -> Result<()> {
    if !volume.status.follows_attachments() {
        return Ok(());
    }
    let all = attachments::store::of_volume(tx, &volume.id).await?;
    let (status, attach_status) = settle(all.iter().map(|attachment| attachment.status));
    let row = ActiveModel { status: Set(status), attach_status: Set(attach_status), ..Default::default() };
    Entity::update_many().set(row).filter(Column::Id.eq(&volume.id)).exec(tx).await?;
    Ok(())
}

/// Changes columns of a volume.
pub async fn update(app: &Cinder, id: &str, row: ActiveModel) -> Result<()> {
    let id = id.to_owned();
    let row = ActiveModel { updated_at: Set(Some(Timestamp::now())), ..row };
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
                Ok(())
            })
        })
        .await
}

pub async fn remove(tx: &impl ConnectionTrait, id: &str) -> Result<bool> {
    pairs::Entity::delete_many().filter(pairs::Column::VolumeId.eq(id)).exec(tx).await?;
    attachments::Entity::delete_many().filter(attachments::Column::VolumeId.eq(id)).exec(tx).await?;
    transfers::Entity::delete_many().filter(transfers::Column::VolumeId.eq(id)).exec(tx).await?;
    if let Some(key) = find(tx, id).await?.and_then(|volume| volume.encryption_key_id) {
        keys::remove(tx, &key).await?;
    }
    Ok(Entity::delete_by_id(id).exec(tx).await?.rows_affected == 1)
}

/// GiB promised on each host.
pub async fn promised(db: &impl ConnectionTrait) -> Result<HashMap<String, i64>> {
    let sums = Entity::find()
        .select_only()
        .column(Column::Host)
        .column_as(Expr::cust("CAST(SUM(size) AS BIGINT)"), "promised")
        .filter(Column::Host.is_not_null())
        .group_by(Column::Host);
    let sums: Vec<(String, i64)> = sums.into_tuple().all(db).await?;
    Ok(sums.into_iter().collect())
}

/// The volumes of a host.
pub async fn on_host(db: &impl ConnectionTrait, host: &str) -> Result<Vec<Volume>> {
    Ok(Entity::find().filter(Column::Host.eq(host)).all(db).await?)
}

/// Adds or replaces pairs; with `replace`, others of the kind go.
pub async fn set_metadata(tx: &impl ConnectionTrait, id: &str, kind: Kind, pairs: &BTreeMap<String, String>, replace: bool) -> Result<()> {
    let mut gone = pairs::Entity::delete_many().filter(pairs::Column::VolumeId.eq(id)).filter(pairs::Column::Kind.eq(kind.text()));
    if !replace {
        gone = gone.filter(pairs::Column::Key.is_in(pairs.keys()));
    }
    gone.exec(tx).await?;
    let rows: Vec<_> = pairs
        .iter()
        .map(|(key, value)| pairs::ActiveModel {
            volume_id: Set(id.to_owned()),
            kind: Set(kind.text().to_owned()),
            key: Set(key.clone()),
            value: Set(value.clone()),
        })
        .collect();
    if !rows.is_empty() {
        pairs::Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(())
}

pub async fn remove_metadata(tx: &impl ConnectionTrait, id: &str, kind: Kind, key: &str) -> Result<bool> {
    let key = (id.to_owned(), kind.text().to_owned(), key.to_owned());
    Ok(pairs::Entity::delete_by_id(key).exec(tx).await?.rows_affected == 1)
}

/// The metadata of one kind of one volume.
pub async fn metadata(db: &impl ConnectionTrait, id: &str, kind: Kind) -> Result<BTreeMap<String, String>> {
    let rows = pairs::Entity::find().filter(pairs::Column::VolumeId.eq(id)).filter(pairs::Column::Kind.eq(kind.text())).all(db).await?;
    Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
}

/// All metadata of several volumes, in one query.
pub async fn metadata_of(db: &impl ConnectionTrait, ids: &[String]) -> Result<Vec<pairs::Model>> {
    Ok(pairs::Entity::find().filter(pairs::Column::VolumeId.is_in(ids)).all(db).await?)
}

/// Volumes that are the caller's, or everybody's.
pub fn of(project: Option<&str>) -> sea_orm::Select<Entity> {
    match project {
        Some(project) => Entity::find().filter(Column::ProjectId.eq(project)),
        None => Entity::find(),
    }
}

/// Writes one change of status on its own.
pub async fn turn(app: &Cinder, id: &str, to: Change) -> Result<()> {
    let id = id.to_owned();
    app.db().write(move |tx| Box::pin(async move { finish(tx, &id, to).await })).await
}

/// Whether some volume is of this type.
pub async fn uses_type(db: &impl ConnectionTrait, type_id: &str) -> Result<bool> {
    Ok(Entity::find().filter(Column::TypeId.eq(type_id)).one(db).await?.is_some())
}

/// The status as a filter writes it.
pub fn status_filter(text: &str) -> Option<sea_orm::sea_query::Expr> {
    Status::parse(text).map(|status| Column::Status.eq(status))
}
