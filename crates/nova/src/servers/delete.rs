//! The beginning of a server's end: the state, the action and the promise to clean up, in one transaction.

use kit::{Context, Result};
use sea_orm::Set;

use super::instance::{ActiveModel, Model};
use super::states::{DELETE, TaskState};
use super::store::{self, Guard};
use crate::conductor::delete::Delete;
use crate::{Nova, instance_actions};

/// Begins to delete a server. Asked twice, the second time changes nothing.
pub async fn begin(app: &Nova, ctx: &Context, server: Model, action: &'static str) -> Result<()> {
    DELETE.check(&server, ctx.is_admin())?;
    let (nova, context) = (app.clone(), ctx.clone());
    let flow = app
        .db
        .write(move |tx| {
            Box::pin(async move {
                let change = ActiveModel { task_state: Set(Some(TaskState::Deleting.word().into())), ..Default::default() };
                if !store::change(tx, &server.id, Guard::alive(), change).await? {
                    return Ok(None);
                }
                instance_actions::begin(tx, &context, &server.id, action).await?;
                let flow = Delete::new(context.caller(), &server.id);
                nova.flows()?.insert(tx, &server.id, &flow).await.map(Some)
            })
        })
        .await?;
    if let Some(flow) = flow {
        app.flows()?.start(&flow);
    }
    Ok(())
}
