//! Lists of servers: filters, order and pages, all in SQL.

use std::collections::HashMap;

use kit::clock::Timestamp;
use kit::collection::{self, Page};
use kit::microversion::Microversion;
use kit::policy::Target;
use kit::{Context, Error, Query, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{Condition, Order, QueryOrder, QuerySelect};
use serde::Serialize;
use serde_json::{Value, json};

use super::instance::{Column, Entity};
use super::states;
use super::store;
use super::view::{Beside, Brief, Detailed, Shown};
use crate::microversions::{CHANGES_BEFORE, LOCKED_FILTER, STATUS_FILTER_CHECKED, STRICT, TAGS};
use crate::{Nova, os_services, server_groups, validate};

/// `GET /servers`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    let Some(found) = find(&app, &ctx, &query, "os_compute_api:servers:index:get_all_tenants").await? else { return empty() };
    let select = found.select.select_only().columns([Column::Id, Column::Name, Column::UpdatedAt]);
    let mut rows: Vec<(String, String, Timestamp)> = select.into_tuple().all(app.db.read()).await?;
    collection::cut(&mut rows, found.page.limit);
    let servers: Vec<Brief<'_>> = rows.iter().map(|(id, name, _)| Brief(&ctx, id, name)).collect();
    let last = rows.last().map(|row| row.0.as_str());
    answer(&ctx, &query, "/servers", &servers, last, rows.len() as u64 == found.page.limit)
}

/// `GET /servers/detail`
pub async fn detail(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    let Some(found) = find(&app, &ctx, &query, "os_compute_api:servers:detail:get_all_tenants").await? else { return empty() };
    let mut rows = shown(found.select, &ctx).all(app.db.read()).await?;
    collection::cut(&mut rows, found.page.limit);
    let beside = beside(&app, &ctx, &rows).await?;
    let servers: Vec<Detailed<'_>> = rows.iter().map(|row| Detailed(row, &beside)).collect();
    let last = rows.last().map(|row| row.id.as_str());
    answer(&ctx, &query, "/servers/detail", &servers, last, rows.len() as u64 == found.page.limit)
}

fn empty() -> Result<Reply> {
    Reply::ok(&json!({"servers": []}))
}

#[derive(Serialize)]
struct PageView<'a, T> {
    servers: &'a [T],
    #[serde(skip_serializing_if = "Option::is_none")]
    servers_links: Option<Value>,
}

fn answer<T: Serialize>(ctx: &Context, query: &Query, path: &str, servers: &[T], last: Option<&str>, full: bool) -> Result<Reply> {
    let next = last.filter(|_| full).map(|id| json!([{"rel": "next", "href": collection::next_href(&ctx.link(path), query, id)}]));
    Reply::ok(&PageView { servers, servers_links: next })
}

/// The shown columns of a query.
pub fn shown(select: sea_orm::Select<Entity>, ctx: &Context) -> sea_orm::Selector<sea_orm::SelectModel<Shown>> {
    use Column as C;
    let select = select.select_only().columns([
        C::Id,
        C::Number,
        C::ProjectId,
        C::UserId,
        C::Name,
        C::Hostname,
        C::Description,
        C::VmState,
        C::TaskState,
        C::PowerState,
        C::Locked,
        C::LockedReason,
        C::Host,
        C::Node,
        C::AvailabilityZone,
        C::ImageId,
        C::KeyName,
        C::ConfigDrive,
        C::DiskConfig,
        C::AccessIpV4,
        C::AccessIpV6,
        C::ReservationId,
        C::LaunchIndex,
        C::RootDeviceName,
        C::Flavor,
        C::Metadata,
        C::Tags,
        C::SecurityGroups,
        C::NetworkInfo,
        C::Fault,
        C::CreatedAt,
        C::UpdatedAt,
        C::LaunchedAt,
        C::TerminatedAt,
    ]);
    // user data may be long, and few see it
    let select = if ctx.is_admin() && ctx.speaks(Microversion(2, 3)) {
        select.column(C::UserData)
    } else {
        select.expr_as(Expr::value(Option::<String>::None), "user_data")
    };
    select.into_model()
}

/// What a page needs beside its rows.
pub async fn beside<'a>(app: &'a Nova, ctx: &'a Context, rows: &[Shown]) -> Result<Beside<'a>> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let project = rows.first().map(|row| row.project_id.as_str()).unwrap_or_default();
    let extended = super::view::sees_hosts(ctx, project);
    let host_status = if extended && ctx.speaks(Microversion(2, 16)) { os_services::host_statuses(app).await? } else { HashMap::new() };
    let groups = if ctx.speaks(Microversion(2, 71)) { server_groups::groups_of(app, &ids).await? } else { HashMap::new() };
    let volumes = store::volumes_of(app.db.read(), &ids).await?;
    Ok(Beside { ctx, volumes, host_status, groups, default_zone: &app.config.default_zone, extended })
}

struct Found {
    select: sea_orm::Select<Entity>,
    page: Page,
}

/// Keys that lists may be sorted by.
fn sort_column(key: &str) -> Option<Column> {
    Some(match key {
        "created_at" => Column::CreatedAt,
        "updated_at" => Column::UpdatedAt,
        "display_name" | "name" => Column::Name,
        "display_description" => Column::Description,
        "uuid" => Column::Id,
        "vm_state" => Column::VmState,
        "task_state" => Column::TaskState,
        "power_state" => Column::PowerState,
        "project_id" | "tenant_id" => Column::ProjectId,
        "user_id" => Column::UserId,
        "host" => Column::Host,
        "node" => Column::Node,
        "image_ref" => Column::ImageId,
        "instance_type_id" => Column::FlavorId,
        "availability_zone" => Column::AvailabilityZone,
        "key_name" => Column::KeyName,
        "launched_at" => Column::LaunchedAt,
        "terminated_at" => Column::TerminatedAt,
        "launch_index" => Column::LaunchIndex,
        "access_ip_v4" => Column::AccessIpV4,
        "access_ip_v6" => Column::AccessIpV6,
        "config_drive" => Column::ConfigDrive,
        "auto_disk_config" => Column::DiskConfig,
        "hostname" => Column::Hostname,
        "root_device_name" => Column::RootDeviceName,
        "locked" => Column::Locked,
        _ => return None,
    })
}

/// Known keys of the query, for the versions that refuse others.
const QUERY: &[&str] = &[
    "limit",
    "marker",
    "sort_key",
    "sort_dir",
    "all_tenants",
    "name",
    "status",
    "image",
    "flavor",
    "ip",
    "ip6",
    "changes-since",
    "changes-before",
    "reservation_id",
    "tags",
    "tags-any",
    "not-tags",
    "not-tags-any",
    "locked",
    "project_id",
    "tenant_id",
    "user_id",
    "host",
    "node",
    "deleted",
    "uuid",
    "hostname",
    "vm_state",
    "task_state",
    "power_state",
    "key_name",
    "config_drive",
    "availability_zone",
    "access_ip_v4",
    "access_ip_v6",
    "accessIPv4",
    "accessIPv6",
    "auto_disk_config",
    "created_at",
    "description",
    "display_name",
    "display_description",
    "image_ref",
    "instance_name",
    "kernel_id",
    "launch_index",
    "launched_at",
    "locked_by",
    "progress",
    "ramdisk_id",
    "root_device_name",
    "terminated_at",
    "soft_deleted",
];

/// The query of a list; `None` when nothing can match.
async fn find(app: &Nova, ctx: &Context, query: &Query, all_tenants_rule: &'static str) -> Result<Option<Found>> {
    if ctx.speaks(STRICT) {
        let unknown: Vec<&str> = query.0.iter().map(|(k, _)| k.as_str()).filter(|k| !QUERY.contains(k) && !k.starts_with('_')).collect();
        kit::microversion::unexpected(&unknown)?;
    }
    let page = Page::parse(query, app.config.max_limit, app.config.max_limit)?;
    let mut all = Condition::all();
    let everybody = query.has("all_tenants") && all_tenants(query)?;
    if everybody {
        ctx.enforce(all_tenants_rule, &Target::project(ctx.project_id()?))?;
        if let Some(project) = query.get("project_id").or_else(|| query.get("tenant_id")) {
            all = all.add(Column::ProjectId.eq(project));
        }
    } else {
        all = all.add(Column::ProjectId.eq(ctx.project_id()?));
    }
    let Some(all) = filters(ctx, query, all)? else { return Ok(None) };
    let mut select = Entity::find().filter(all);
    select = ordered(app, ctx, select, &page).await?;
    Ok(Some(Found { select: select.limit(page.limit), page }))
}

/// `all_tenants=1`, `=true` or nothing behind it; another word is refused.
fn all_tenants(query: &Query) -> Result<bool> {
    match query.get("all_tenants").unwrap_or_default() {
        "" => Ok(true),
        text => validate::boolean("all_tenants", &Value::String(text.to_owned()))
            .map_err(|_| Error::bad_request(format!("Invalid value '{text}' for all_tenants: it is no boolean."))),
    }
}

fn filters(ctx: &Context, query: &Query, mut all: Condition) -> Result<Option<Condition>> {
    let admin = ctx.is_admin();
    let moment = |key: &str| match query.get(key) {
        None => Ok(None),
        Some(text) => Timestamp::parse(text)
            .map(Some)
            .ok_or_else(|| validate::invalid(&format!("query parameters {key}"), text, format!("'{text}' is not a 'date-time'"))),
    };
    let since = moment("changes-since")?;
    if let Some(since) = since {
        all = all.add(Column::UpdatedAt.gte(since));
    }
    if let Some(before) = moment("changes-before")?.filter(|_| ctx.speaks(CHANGES_BEFORE)) {
        all = all.add(Column::UpdatedAt.lte(before));
    }
    let deleted = query.get("deleted").filter(|_| admin).map(kit::call::truthy);
    match deleted {
        Some(deleted) => all = all.add(Column::Deleted.eq(deleted)),
        // what changed may also have gone
        None if since.is_some() => {}
        None => all = all.add(Column::Deleted.eq(false)),
    }
    let Some(status) = status_filter(ctx, query)? else { return Ok(None) };
    all = all.add(status);
    if let Some(name) = query.get("name").or_else(|| query.get("display_name")) {
        all = all.add(name_filter(name));
    }
    for (key, column) in EXACT {
        if let Some(value) = query.get(key) {
            all = all.add(column.eq(validate::id_of(value)));
        }
    }
    if admin {
        for (key, column) in EXACT_ADMIN {
            if let Some(value) = query.get(key) {
                all = all.add(column.eq(value));
            }
        }
    }
    for key in ["ip", "ip6"] {
        if let Some(value) = query.get(key) {
            all = all.add(address_filter(value));
        }
    }
    if let Some(locked) = query.get("locked").filter(|_| ctx.speaks(LOCKED_FILTER)) {
        all = all.add(Column::Locked.eq(validate::boolean("locked", &Value::String(locked.to_owned()))?));
    }
    if ctx.speaks(TAGS) {
        all = tag_filters(query, all);
    }
    Ok(Some(all))
}

const EXACT: &[(&str, Column)] =
    &[("image", Column::ImageId), ("image_ref", Column::ImageId), ("flavor", Column::FlavorId), ("reservation_id", Column::ReservationId)];

const EXACT_ADMIN: &[(&str, Column)] = &[
    ("host", Column::Host),
    ("node", Column::Node),
    ("uuid", Column::Id),
    ("hostname", Column::Hostname),
    ("user_id", Column::UserId),
    ("vm_state", Column::VmState),
    ("task_state", Column::TaskState),
    ("key_name", Column::KeyName),
    ("availability_zone", Column::AvailabilityZone),
    ("access_ip_v4", Column::AccessIpV4),
    ("access_ip_v6", Column::AccessIpV6),
];

/// The states behind the statuses asked for; `None` when there are none of that name.
fn status_filter(ctx: &Context, query: &Query) -> Result<Option<Condition>> {
    if !query.has("status") {
        return Ok(Some(Condition::all()));
    }
    let mut any = Condition::any();
    let mut known = false;
    for status in query.all("status") {
        let found = states::states_of(status);
        if found.is_empty() && ctx.speaks(STATUS_FILTER_CHECKED) {
            return Err(Error::bad_request("Invalid status value"));
        }
        if status.eq_ignore_ascii_case("deleted") && !ctx.is_admin() {
            return Err(Error::forbidden("Only administrators may list deleted instances"));
        }
        known |= !found.is_empty();
        for (vm, tasks) in found {
            let mut both = Condition::all().add(Column::VmState.eq(vm.word()));
            both = match tasks {
                Some(tasks) => both.add(Column::TaskState.is_in(tasks.iter().map(|t| t.word()))),
                None => {
                    let others: Vec<&str> = states::overriding(vm).map(|t| t.word()).collect();
                    if others.is_empty() { both } else { both.add(Column::TaskState.is_null().or(Column::TaskState.is_not_in(others))) }
                }
            };
            any = any.add(both);
        }
    }
    Ok(known.then_some(any))
}

/// A part of the name; `^` and `$` hold it to the beginning and the end, as in the regular expressions nova takes.
fn name_filter(pattern: &str) -> Condition {
    let (begins, ends) = (pattern.starts_with('^'), pattern.ends_with('$'));
    let literal: String = pattern.trim_start_matches('^').trim_end_matches('$').replace(".*", "%").replace('\\', "");
    let like = format!("{}{literal}{}", if begins { "" } else { "%" }, if ends { "" } else { "%" });
    Condition::all().add(Column::Name.like(like))
}

/// A part of an address, or with `^` its beginning.
fn address_filter(pattern: &str) -> Condition {
    let literal: String = pattern.chars().filter(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':')).collect();
    let between = if pattern.starts_with('^') { "" } else { "%" };
    Condition::all().add(Column::NetworkInfo.like(format!("%\"address\":\"{between}{literal}%")))
}

fn tag_filters(query: &Query, mut all: Condition) -> Condition {
    let has = |tag: &str| Column::Tags.contains(serde_json::to_string(tag).unwrap_or_default());
    let split = |key: &str| {
        query.get(key).map(|text| text.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
    };
    let each = |tags: &[String]| tags.iter().fold(Condition::all(), |all, tag| all.add(has(tag)));
    let any = |tags: &[String]| tags.iter().fold(Condition::any(), |any, tag| any.add(has(tag)));
    for (key, negate, every) in [("tags", false, true), ("tags-any", false, false), ("not-tags", true, true), ("not-tags-any", true, false)]
    {
        let tags = split(key);
        if !tags.is_empty() {
            let condition = if every { each(&tags) } else { any(&tags) };
            all = all.add(if negate { condition.not() } else { condition });
        }
    }
    all
}

/// The order asked for, ended by age and id so that a marker stands at one place.
async fn ordered(app: &Nova, ctx: &Context, mut select: sea_orm::Select<Entity>, page: &Page) -> Result<sea_orm::Select<Entity>> {
    let mut order: Vec<(Column, bool)> = Vec::new();
    for (key, ascending) in &page.sort {
        let column = sort_column(key).filter(|c| !matches!(c, Column::Locked) || ctx.speaks(LOCKED_FILTER));
        let Some(column) = column else {
            return Err(validate::invalid(
                "query parameters sort_key",
                key,
                format!("'{key}' is not one of the keys that lists are sorted by"),
            ));
        };
        if matches!(column, Column::Host | Column::Node) && !ctx.is_admin() {
            return Err(Error::forbidden("Only administrators may sort servers by host or node"));
        }
        order.push((column, *ascending));
    }
    for last in [Column::CreatedAt, Column::Id] {
        if !order.iter().any(|(c, _)| c.as_str() == last.as_str()) {
            order.push((last, false));
        }
    }
    if let Some(marker) = &page.marker {
        let missing = || Error::bad_request(format!("marker [{marker}] not found"));
        let id = ids::parse_uuid(marker).ok_or_else(missing)?;
        let row = Entity::find_by_id(&id).one(app.db.read()).await?.ok_or_else(missing)?;
        if !ctx.is_admin() && ctx.project_id()? != row.project_id {
            return Err(missing());
        }
        select = select.filter(after(&order, &row));
    }
    for (column, ascending) in order {
        select = select.order_by(column, if ascending { Order::Asc } else { Order::Desc });
    }
    Ok(select)
}

/// Rows behind a marker: later by the first key, or equal there and later by the next, and so on.
fn after(order: &[(Column, bool)], marker: &super::instance::Model) -> Condition {
    let mut any = Condition::any();
    let mut equal = Condition::all();
    for (column, ascending) in order {
        let value = sea_orm::ModelTrait::get(marker, *column);
        let beyond = if *ascending { column.gt(value.clone()) } else { column.lt(value.clone()) };
        any = any.add(equal.clone().add(beyond));
        equal = equal.add(column.eq(value));
    }
    any
}
