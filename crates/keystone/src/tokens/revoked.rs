//! Tokens taken back one by one, and `GET /v3/OS-REVOKE/events`, which lists them for those who validate tokens on their own.

use kit::call::Query;
use kit::clock::Timestamp;
use kit::{Context, Error, Reply, Result};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect};
use serde_json::{Value, json};

use crate::{Keystone, list};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revoked_tokens")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub audit_id: String,
    /// When the token would have ended anyway.
    pub expires_at: Timestamp,
    pub revoked_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Events listed at once.
const MOST: u64 = 10_000;

/// Takes a token back.
pub async fn revoke(keystone: &Keystone, audit_id: &str, expires_at: Timestamp) -> Result<()> {
    let row = ActiveModel { audit_id: Set(audit_id.to_owned()), expires_at: Set(expires_at), revoked_at: Set(Timestamp::now()) };
    keystone
        .write(move |tx| {
            Box::pin(async move {
                // those that have expired by now need no list to be refused
                Entity::delete_many().filter(Column::ExpiresAt.lt(Timestamp::now())).exec(tx).await?;
                let taken = OnConflict::column(Column::AuditId).do_nothing().to_owned();
                Entity::insert(row).on_conflict(taken).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await
}

/// `GET /v3/OS-REVOKE/events`
pub async fn events(keystone: Keystone, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find().order_by_asc(Column::RevokedAt).limit(MOST);
    if let Some(since) = query.get("since") {
        let since = Timestamp::parse(since).ok_or_else(|| Error::bad_request(format!("Invalid input for field 'since': '{since}'")))?;
        select = select.filter(Column::RevokedAt.gte(since));
    }
    let rows = select.all(keystone.db.read()).await?;
    let event = |row: Model| -> Value {
        json!({"audit_id": row.audit_id, "issued_before": row.revoked_at.to_micros_z(), "revoked_at": row.revoked_at.to_micros_z()})
    };
    list::whole(&ctx, "/OS-REVOKE/events", &query, "events", rows.into_iter().map(event).collect())
}
