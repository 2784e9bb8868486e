//! What was done to a server, by whom, and through which steps: actions and their events.

pub mod api;
pub mod record;

use kit::clock::Timestamp;
use kit::db::Json;
use kit::{Context, Result, ids};
use rpc::Caller;
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, Set};
use serde_json::Value;

/// A row of `actions`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "actions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub instance_id: String,
    pub request_id: String,
    pub action: String,
    pub project_id: String,
    pub user_id: String,
    /// `Error` when it failed.
    pub message: Option<String>,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// What [`crate::notifications`] told of it.
    pub told: i64,
    /// What they say of it beyond the server: the volume, the image, the flavor.
    pub details: Option<Json<Value>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A row for an action that begins now.
fn row(caller: Caller, instance_id: &str, action: &str) -> ActiveModel {
    let now = Timestamp::now();
    ActiveModel {
        id: Set(ids::uuid()),
        instance_id: Set(instance_id.to_owned()),
        request_id: Set(caller.request_id),
        action: Set(action.to_owned()),
        project_id: Set(caller.project_id),
        user_id: Set(caller.user_id),
        message: Set(None),
        started_at: Set(now),
        updated_at: Set(now),
        finished_at: Set(None),
        told: Set(0),
        details: Set(None),
    }
}

/// Records that an action began.
pub async fn begin(tx: &impl ConnectionTrait, ctx: &Context, instance_id: &str, action: &str) -> Result<()> {
    begin_with(tx, ctx, instance_id, action, None).await
}

/// The same, with more to tell of it.
pub async fn begin_with(tx: &impl ConnectionTrait, ctx: &Context, instance_id: &str, action: &str, details: Option<Value>) -> Result<()> {
    let row = ActiveModel { details: Set(details.map(Json)), ..row(ctx.caller(), instance_id, action) };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Records that an action began whose flow had to look first, and may look again.
pub async fn begin_once(tx: &impl ConnectionTrait, caller: &Caller, instance_id: &str, action: &str, details: Value) -> Result<()> {
    let begun = Entity::find().filter(Column::InstanceId.eq(instance_id)).filter(Column::RequestId.eq(&caller.request_id));
    if begun.count(tx).await? == 0 {
        let row = ActiveModel { details: Set(Some(Json(details))), ..row(caller.clone(), instance_id, action) };
        Entity::insert(row).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// The same in a transaction of its own.
pub async fn begun_once(app: &crate::Nova, caller: &Caller, instance_id: &str, action: &'static str, details: Value) -> Result<()> {
    let (caller, instance) = (caller.clone(), instance_id.to_owned());
    app.db.write(move |tx| Box::pin(async move { begin_once(tx, &caller, &instance, action, details).await })).await
}

/// Records an action that is over as soon as it began.
pub async fn over(tx: &impl ConnectionTrait, ctx: &Context, instance_id: &str, action: &str) -> Result<()> {
    let row = ActiveModel { finished_at: Set(Some(Timestamp::now())), ..row(ctx.caller(), instance_id, action) };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// The same in a transaction of its own.
pub async fn done(app: &crate::Nova, ctx: &Context, instance_id: &str, action: &'static str) -> Result<()> {
    let (ctx, instance) = (ctx.clone(), instance_id.to_owned());
    app.db.write(move |tx| Box::pin(async move { over(tx, &ctx, &instance, action).await })).await
}

/// Records how an action ended that left the server as it was.
pub async fn ended(app: &crate::Nova, caller: &Caller, instance_id: &str, failed: bool) -> Result<()> {
    let (instance, request) = (instance_id.to_owned(), caller.request_id.clone());
    app.db.write(move |tx| Box::pin(async move { end(tx, &instance, &request, failed).await })).await
}

/// Records how an action ended.
pub async fn end(tx: &impl ConnectionTrait, instance_id: &str, request_id: &str, failed: bool) -> Result<()> {
    let now = Timestamp::now();
    let change = ActiveModel {
        message: Set(failed.then(|| "Error".to_owned())),
        updated_at: Set(now),
        finished_at: Set(Some(now)),
        ..Default::default()
    };
    let row = Entity::update_many().set(change).filter(Column::InstanceId.eq(instance_id)).filter(Column::RequestId.eq(request_id));
    row.exec(tx).await?;
    Ok(())
}

/// Actions of a server that nobody will end.
pub async fn abandon(tx: &impl ConnectionTrait, instance_id: &str) -> Result<()> {
    let now = Timestamp::now();
    let failed =
        ActiveModel { message: Set(Some("Error".to_owned())), updated_at: Set(now), finished_at: Set(Some(now)), ..Default::default() };
    let open = Entity::update_many().set(failed).filter(Column::InstanceId.eq(instance_id)).filter(Column::FinishedAt.is_null());
    open.exec(tx).await?;
    Ok(())
}

/// The `action_events` table.
pub mod event {
    use kit::clock::Timestamp;
    use sea_orm::entity::prelude::*;

    /// A row.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "action_events")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub instance_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub request_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub event: String,
        pub event_from: String,
        pub event_to: String,
        pub host: Option<String>,
        #[sea_orm(primary_key, auto_increment = false)]
        pub started_at: Timestamp,
        pub finished_at: Option<Timestamp>,
        pub result: Option<String>,
        pub details: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
