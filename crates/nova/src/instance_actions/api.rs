//! `/servers/{id}/os-instance-actions`: nova's own form, and the steps of one action as a timeline.

use kit::clock::Timestamp;
use kit::collection::{self, Page};
use kit::microversion::Microversion;
use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result};
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};

use super::{Column, Entity, Model, event};
use crate::microversions::{ACTION_PAGES, ACTIONS_OF_DELETED, CHANGES_BEFORE, EVENT_DETAILS, EVENTS_FOR_ALL};
use crate::servers::{instance, store, view};
use crate::{Nova, validate};

fn row_view(ctx: &Context, row: &Model) -> Value {
    let mut view = json!({
        "action": row.action, "instance_uuid": row.instance_id, "request_id": row.request_id, "user_id": row.user_id,
        "project_id": row.project_id, "start_time": row.started_at.to_micros(), "message": row.message,
    });
    if ctx.speaks(ACTION_PAGES) {
        view["updated_at"] = json!(row.updated_at.to_micros());
    }
    view
}

async fn server(app: &Nova, ctx: &Context, id: &str) -> Result<instance::Model> {
    store::fetch_any(app.db.read(), ctx, id, ctx.speaks(ACTIONS_OF_DELETED)).await
}

/// `GET /servers/{id}/os-instance-actions`
pub async fn list(app: Nova, ctx: Context, id: Path<String>, query: Query) -> Result<Reply> {
    let (known, earlier): (&[&str], &[&str]) =
        (&["limit", "marker", "changes-since", "changes-before"], &["limit", "marker", "changes-since"]);
    validate::query_keys(&ctx, &query, ACTION_PAGES, if ctx.speaks(CHANGES_BEFORE) { known } else { earlier })?;
    let server = server(&app, &ctx, &id.0).await?;
    let mut select = Entity::find().filter(Column::InstanceId.eq(&server.id));
    let moment = |key: &str| match query.get(key) {
        None => Ok(None),
        Some(text) => Timestamp::parse(text).map(Some).ok_or_else(|| {
            Error::bad_request(format!("Invalid input for query parameters {key}. Value: {text}. '{text}' is not a 'date-time'"))
        }),
    };
    if ctx.speaks(ACTION_PAGES)
        && let Some(since) = moment("changes-since")?
    {
        select = select.filter(Column::UpdatedAt.gte(since));
    }
    if ctx.speaks(CHANGES_BEFORE)
        && let Some(before) = moment("changes-before")?
    {
        select = select.filter(Column::UpdatedAt.lte(before));
    }
    let mut rows = select.order_by_desc(Column::StartedAt).order_by_desc(Column::Id).all(app.db.read()).await?;
    let mut body = json!({});
    if ctx.speaks(ACTION_PAGES) {
        let page = Page::parse(&query, app.config.max_limit, app.config.max_limit)?;
        if let Some(marker) = &page.marker {
            let at = rows.iter().position(|row| row.request_id == *marker);
            rows.drain(..=at.ok_or_else(|| Error::bad_request(format!("marker [{marker}] not found")))?);
        }
        if collection::cut(&mut rows, page.limit)
            && let Some(last) = rows.last()
        {
            let base = ctx.link(&format!("/servers/{}/os-instance-actions", server.id));
            body["links"] = json!([{"rel": "next", "href": collection::next_href(&base, &query, &last.request_id)}]);
        }
    }
    body["instanceActions"] = rows.iter().map(|row| row_view(&ctx, row)).collect();
    Reply::ok(&body)
}

/// `GET /servers/{id}/os-instance-actions/{request}`
pub async fn show(app: Nova, ctx: Context, Path((id, request)): Path<(String, String)>) -> Result<Reply> {
    let server = server(&app, &ctx, &id).await?;
    let action = fetch(&app, &server.id, &request).await?;
    let mut body = row_view(&ctx, &action);
    let admin = ctx.allows("os_compute_api:os-instance-actions:events", &Target::project(&server.project_id));
    if admin || ctx.speaks(EVENTS_FOR_ALL) {
        let events = events(&app, &server.id, &request).await?;
        let details = ctx.speaks(EVENT_DETAILS)
            && ctx.allows("os_compute_api:os-instance-actions:events:details", &Target::project(&server.project_id));
        body["events"] = events.iter().map(|event| event_view(&ctx, &server.project_id, event, admin, details)).collect();
    }
    Reply::ok(&json!({"instanceAction": body}))
}

async fn fetch(app: &Nova, server: &str, request: &str) -> Result<Model> {
    let row = Entity::find().filter(Column::InstanceId.eq(server)).filter(Column::RequestId.eq(request)).one(app.db.read()).await?;
    row.ok_or_else(|| Error::not_found(format!("Action for request_id {request} on instance {server} not found")))
}

/// The events of an action in their order, those still in memory included.
async fn events(app: &Nova, server: &str, request: &str) -> Result<Vec<event::Model>> {
    app.events.flush(&app.db).await?;
    let rows = event::Entity::find().filter(event::Column::InstanceId.eq(server)).filter(event::Column::RequestId.eq(request));
    Ok(rows.order_by_asc(event::Column::StartedAt).order_by_asc(event::Column::FinishedAt).all(app.db.read()).await?)
}

fn event_view(ctx: &Context, project: &str, row: &event::Model, admin: bool, details: bool) -> Value {
    let mut view = json!({
        "event": row.event, "start_time": row.started_at.to_micros(), "finish_time": row.finished_at.map(Timestamp::to_micros),
        "result": row.result,
    });
    let failure = row.details.as_ref().filter(|_| row.result.as_deref() == Some("Error"));
    if admin {
        view["traceback"] = json!(failure);
    }
    if details {
        view["details"] = json!(failure);
    }
    if ctx.speaks(Microversion(2, 62)) {
        view["hostId"] = json!(view::host_id(project, row.host.as_deref()));
        if admin {
            view["host"] = json!(row.host);
        }
    }
    view
}

/// `GET /servers/{id}/os-instance-actions/{request}/timeline`: Cumulo's own; who asked whom for what, and how long it took.
pub async fn timeline(app: Nova, ctx: Context, Path((id, request)): Path<(String, String)>) -> Result<Reply> {
    let server = server(&app, &ctx, &id).await?;
    let action = fetch(&app, &server.id, &request).await?;
    let admin = ctx.allows("os_compute_api:os-instance-actions:events", &Target::project(&server.project_id));
    let rows = events(&app, &server.id, &request).await?;
    let began = rows.iter().map(|row| row.started_at).min().unwrap_or(action.started_at).min(action.started_at);
    let steps: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "event": row.event, "from": row.event_from, "to": row.event_to,
                "host": row.host.as_ref().filter(|_| admin),
                "after_us": row.started_at.0 - began.0,
                "took_us": row.finished_at.map(|end| end.0 - row.started_at.0),
                "start_time": row.started_at.to_micros(), "result": row.result,
                "details": row.details.as_ref().filter(|_| admin || row.result.as_deref() != Some("Error")),
            })
        })
        .collect();
    Reply::ok(&json!({"timeline": {
        "server_id": server.id, "action": action.action, "request_id": action.request_id, "start_time": began.to_micros(), "steps": steps,
    }}))
}
