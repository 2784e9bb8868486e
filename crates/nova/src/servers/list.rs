//! Lists of servers: order and pages, all in SQL; what is filtered by is in `filters.rs`.

use kit::clock::Timestamp;
use kit::collection::{self, Page};
use kit::microversion::Microversion;
use kit::policy::Target;
use kit::{Context, Error, Query, Reply, Result, ids};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{Condition, Order, QueryOrder, QuerySelect};
use serde::Serialize;
use serde_json::{Value, json};

use super::instance::{Column, Entity};
use super::view::{Beside, Brief, Detailed, Shown, sees_hosts};
use super::{filters, store};
use crate::microversions::{CERTIFICATES, HOST_STATUS, LOCKED_FILTER, SERVER_GROUPS_SHOWN, STRICT};
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
    let beside = beside(&app, &ctx, &rows, Shows::List).await?;
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
    // what may be long is read only where it is shown
    let attributes = ctx.speaks(Microversion(2, 3)) && sees_hosts(ctx, ctx.project_id().unwrap_or_default());
    let select = if ctx.speaks(CERTIFICATES) || attributes {
        select.column(C::Spec)
    } else {
        select.expr_as(Expr::value(Option::<String>::None), "spec")
    };
    let select = if attributes { select.column(C::UserData) } else { select.expr_as(Expr::value(Option::<String>::None), "user_data") };
    select.into_model()
}

/// Whether servers are shown one by one, or as a list, which tells less.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    One,
    List,
}

/// What a page needs beside its rows.
pub async fn beside<'a>(app: &'a Nova, ctx: &'a Context, rows: &[Shown], shows: Shows) -> Result<Beside<'a>> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let project = rows.first().map(|row| row.project_id.as_str()).unwrap_or_default();
    let extended = sees_hosts(ctx, project);
    let host_status = if ctx.speaks(HOST_STATUS) { os_services::host_statuses(app, ctx, project).await? } else { None };
    let extra_specs = ctx.allows("os_compute_api:servers:show:flavor-extra-specs", &Target::project(project));
    let grouped = shows == Shows::One && ctx.speaks(SERVER_GROUPS_SHOWN);
    let groups = if grouped { Some(server_groups::groups_of(app, &ids).await?) } else { None };
    let volumes = store::volumes_of(app.db.read(), &ids).await?;
    Ok(Beside { ctx, volumes, host_status, groups, default_zone: &app.config.default_zone, extended, extra_specs })
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
        "display_name" => Column::Name,
        "display_description" => Column::Description,
        "uuid" => Column::Id,
        "vm_state" => Column::VmState,
        "task_state" => Column::TaskState,
        "power_state" => Column::PowerState,
        "project_id" => Column::ProjectId,
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
        "locked_by" => Column::LockedBy,
        _ => return None,
    })
}

/// Keys of which all servers are alike here, or which say nothing about order.
const NO_ORDER: &[&str] = &["kernel_id", "ramdisk_id", "progress"];

/// Keys that lists were once sorted by and must not be: ignored, and refused since 2.75.
const IGNORED: &[&str] = &[
    "architecture",
    "cell_name",
    "cleaned",
    "default_ephemeral_device",
    "default_swap_device",
    "deleted",
    "deleted_at",
    "disable_terminate",
    "ephemeral_gb",
    "ephemeral_key_uuid",
    "id",
    "key_data",
    "launched_on",
    "locked",
    "memory_mb",
    "os_type",
    "reservation_id",
    "root_gb",
    "shutdown_terminate",
    "user_data",
    "vcpus",
    "vm_mode",
];

/// The query of a list; `None` when nothing can match.
async fn find(app: &Nova, ctx: &Context, query: &Query, all_tenants_rule: &'static str) -> Result<Option<Found>> {
    filters::check(ctx, query)?;
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
    let Some(all) = filters::filters(ctx, query, app.db.read().get_database_backend(), all)? else { return Ok(None) };
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

/// The order asked for, ended by age and id so that a marker stands at one place.
async fn ordered(app: &Nova, ctx: &Context, mut select: sea_orm::Select<Entity>, page: &Page) -> Result<sea_orm::Select<Entity>> {
    let mut order: Vec<(Column, bool)> = Vec::new();
    for (key, ascending) in &page.sort {
        let column = sort_column(key).filter(|c| !matches!(c, Column::Locked) || ctx.speaks(LOCKED_FILTER));
        let Some(column) = column else {
            if NO_ORDER.contains(&key.as_str()) || (IGNORED.contains(&key.as_str()) && !ctx.speaks(STRICT)) {
                continue;
            }
            return Err(validate::invalid_query("sort_key", key, format!("'{key}' is not one of the keys that lists are sorted by")));
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
        // databases do not agree on where nothing stands: here always at the end
        if is_nullable(column) {
            select = select.order_by(column.is_null(), Order::Asc);
        }
        select = select.order_by(column, if ascending { Order::Asc } else { Order::Desc });
    }
    Ok(select)
}

fn is_nullable(column: Column) -> bool {
    column.def().is_null()
}

/// Rows behind a marker: later by the first key, or equal there and later by the next, and so on.
fn after(order: &[(Column, bool)], marker: &super::instance::Model) -> Condition {
    let mut any = Condition::any();
    let mut equal = Condition::all();
    for (column, ascending) in order {
        let value = sea_orm::ModelTrait::get(marker, *column);
        let is_nothing = is_nullable(*column) && value == value.as_null();
        if !is_nothing {
            let beyond = if *ascending { column.gt(value.clone()) } else { column.lt(value.clone()) };
            let beyond: SimpleExpr = if is_nullable(*column) { beyond.or(column.is_null()) } else { beyond };
            any = any.add(equal.clone().add(beyond));
        }
        equal = equal.add(if is_nothing { column.is_null() } else { column.eq(value) });
    }
    any
}
