//! `/os-migrations`: moves of servers of all kinds, the newest first.

use kit::clock::Timestamp;
use kit::collection::{self, Page};
use kit::policy::Target;
use kit::{Context, Error, Query, Reply, Result};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, QueryOrder, QuerySelect};
use serde_json::{Value, json};

use super::{Column, Entity, LIVE, Model};
use crate::Nova;
use crate::microversions::{CHANGES_BEFORE, MIGRATION_LINKS, MIGRATION_OWNERS, MIGRATION_UUIDS, STRICT_MIGRATIONS};
use crate::servers::server_migrations::UNDER_WAY;
use crate::validate;

/// Keys of the query, with the version they came with.
const QUERY: &[(&str, u16)] = &[
    ("host", 1),
    ("status", 1),
    ("instance_uuid", 1),
    ("source_compute", 1),
    ("migration_type", 1),
    ("hidden", 1),
    ("limit", 59),
    ("marker", 59),
    ("changes-since", 59),
    ("changes-before", 66),
    ("user_id", 80),
    ("project_id", 80),
];

const EXACT: &[(&str, Column)] = &[
    ("status", Column::Status),
    ("instance_uuid", Column::InstanceId),
    ("source_compute", Column::SourceHost),
    ("migration_type", Column::MigrationType),
];

/// Where it goes from and to, which is an operator's business.
const HOSTS: [&str; 5] = ["source_compute", "source_node", "dest_compute", "dest_node", "dest_host"];

fn view(ctx: &Context, row: &Model) -> Value {
    let mut view = json!({
        "id": row.number, "status": row.status, "instance_uuid": row.instance_id,
        "source_compute": row.source_host, "source_node": row.source_node,
        "dest_compute": row.dest_host, "dest_node": row.dest_node, "dest_host": null,
        "old_instance_type_id": row.old_flavor.0.id.parse::<i64>().ok(),
        "new_instance_type_id": row.new_flavor.0.id.parse::<i64>().ok(),
        "created_at": row.created_at.to_micros(), "updated_at": row.updated_at.to_micros(),
    });
    if ctx.speaks(MIGRATION_LINKS) {
        view["migration_type"] = json!(row.migration_type);
        if row.migration_type == LIVE && UNDER_WAY.contains(&row.status.as_str()) {
            let path = format!("/servers/{}/migrations/{}", row.instance_id, row.number);
            view["links"] = json!([
                {"rel": "self", "href": ctx.link(&path)},
                {"rel": "bookmark", "href": format!("{}{path}", ctx.base_url)},
            ]);
        }
    }
    if ctx.speaks(MIGRATION_UUIDS) {
        view["uuid"] = json!(row.id);
    }
    if ctx.speaks(MIGRATION_OWNERS) {
        view["user_id"] = json!(row.user_id);
        view["project_id"] = json!(row.project_id);
    }
    hide_hosts(ctx, "os_compute_api:os-migrations:index:host", row, &mut view);
    view
}

/// A project's manager sees that a server moves, not where.
pub fn hide_hosts(ctx: &Context, rule: &str, row: &Model, view: &mut Value) {
    if !ctx.allows(rule, &Target::project(&row.project_id)) {
        HOSTS.iter().for_each(|field| view[field] = Value::Null);
    }
}

/// `GET /os-migrations`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    if ctx.speaks(STRICT_MIGRATIONS) {
        let known = |key: &str| QUERY.iter().any(|(name, since)| *name == key && ctx.version.1 >= *since);
        kit::microversion::unexpected(&query.0.iter().map(|(key, _)| key.as_str()).filter(|key| !known(key)).collect::<Vec<_>>())?;
    }
    let mut select = Entity::find().filter(filters(&ctx, &query)?);
    if !ctx.speaks(MIGRATION_UUIDS) {
        let rows = select.order_by_desc(Column::Number).limit(app.config.max_limit).all(app.db.read()).await?;
        return Reply::ok(&json!({"migrations": rows.iter().map(|row| view(&ctx, row)).collect::<Vec<_>>()}));
    }
    let page = Page::parse(&query, app.config.max_limit, app.config.max_limit)?;
    if let Some(marker) = &page.marker {
        let row = super::load(app.db.read(), marker).await?;
        let row = row.ok_or_else(|| Error::bad_request(format!("Marker {marker} could not be found.")))?;
        select = select.filter(Column::Number.lt(row.number));
    }
    let mut rows = select.order_by_desc(Column::Number).limit(page.limit + 1).all(app.db.read()).await?;
    let more = collection::cut(&mut rows, page.limit);
    let mut body = json!({"migrations": rows.iter().map(|row| view(&ctx, row)).collect::<Vec<_>>()});
    if let (true, Some(last)) = (more, rows.last()) {
        let href = collection::next_href(&ctx.link("/os-migrations"), &query, &last.id);
        body["migrations_links"] = json!([{"rel": "next", "href": href}]);
    }
    Reply::ok(&body)
}

fn filters(ctx: &Context, query: &Query) -> Result<Condition> {
    let mut all = Condition::all();
    match query.get("project_id") {
        Some(asked) if ctx.project_id().is_ok_and(|own| own == asked) => all = all.add(Column::ProjectId.eq(asked)),
        _ => ctx.enforce("os_compute_api:os-migrations:index:all_projects", &Target::new())?,
    }
    for (key, column) in EXACT {
        if let Some(value) = query.get(key) {
            all = all.add(column.eq(value));
        }
    }
    if let Some(host) = query.get("host") {
        all = all.add(Condition::any().add(Column::SourceHost.eq(host)).add(Column::DestHost.eq(host)));
    }
    if ctx.speaks(MIGRATION_OWNERS) {
        for (key, column) in [("user_id", Column::UserId), ("project_id", Column::ProjectId)] {
            if let Some(value) = query.get(key) {
                all = all.add(column.eq(value));
            }
        }
    }
    let moment = |key: &str| match query.get(key) {
        None => Ok(None),
        Some(text) => Timestamp::parse(text)
            .map(Some)
            .ok_or_else(|| validate::invalid(&format!("query parameters {key}"), text, format!("'{text}' is not a 'date-time'"))),
    };
    let since = if ctx.speaks(MIGRATION_UUIDS) { moment("changes-since")? } else { None };
    let before = if ctx.speaks(CHANGES_BEFORE) { moment("changes-before")? } else { None };
    if let Some(since) = since {
        all = all.add(Column::UpdatedAt.gte(since));
    }
    if let Some(before) = before {
        all = all.add(Column::UpdatedAt.lte(before));
    }
    match (since, before) {
        (Some(since), Some(before)) if since > before => {
            Err(Error::bad_request("The value of changes-since must be less than or equal to changes-before."))
        }
        _ => Ok(all),
    }
}
