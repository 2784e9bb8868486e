//! `/messages`

use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::{Column, Entity, Model};
use crate::Cinder;
use crate::page::{self, Sorts};

const SORTS: Sorts<Entity> = &[
    ("id", Column::Id),
    ("event_id", Column::EventId),
    ("resource_type", Column::ResourceType),
    ("resource_uuid", Column::ResourceUuid),
    ("message_level", Column::MessageLevel),
    ("request_id", Column::RequestId),
    ("created_at", Column::CreatedAt),
];

fn view(ctx: &Context, message: &Model) -> Value {
    let path = format!("/messages/{}", message.id);
    json!({
        "id": message.id, "event_id": message.event_id, "user_message": message.user_message, "message_level": message.message_level,
        "resource_type": message.resource_type, "resource_uuid": message.resource_uuid, "request_id": message.request_id,
        "created_at": message.created_at.to_micros(), "guaranteed_until": message.expires_at.to_micros(),
        "links": [{"rel": "self", "href": ctx.link(&path)}, {"rel": "bookmark", "href": ctx.bookmark(&path)}],
    })
}

pub async fn list(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let mut select = Entity::find().filter(Column::ProjectId.eq(ctx.project_id()?));
    for (key, value) in &query.0 {
        select = match key.as_str() {
            "event_id" => select.filter(Column::EventId.eq(value)),
            "resource_type" => select.filter(Column::ResourceType.eq(value.to_uppercase())),
            "resource_uuid" => select.filter(Column::ResourceUuid.eq(value)),
            "request_id" => select.filter(Column::RequestId.eq(value)),
            "message_level" => select.filter(Column::MessageLevel.eq(value.to_uppercase())),
            _ => select,
        };
    }
    let page = page::fetch(app.db().read(), &ctx, &query, select, SORTS).await?;
    page.map(|message| view(&ctx, &message)).reply(&ctx, &query, "/messages", "messages", "messages_links")
}

pub async fn show(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let message = find(&app, &ctx, &id).await?;
    Reply::ok(&json!({"message": view(&ctx, &message)}))
}

pub async fn delete(app: Cinder, ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let message = find(&app, &ctx, &id).await?;
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                Entity::delete_by_id(message.id).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}

async fn find(app: &Cinder, ctx: &Context, id: &str) -> Result<Model> {
    let missing = || Error::not_found(format!("Message {id} could not be found."));
    let message = Entity::find_by_id(id).one(app.db().read()).await?.ok_or_else(missing)?;
    let target = Target::project(&message.project_id);
    if !ctx.allows("message:get", &target) {
        return Err(missing());
    }
    ctx.enforce(ctx.rule, &target)?;
    Ok(message)
}
