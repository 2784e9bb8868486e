//! What lists of servers are filtered by: everybody's filters, those of later versions, and those that only administrators have.

use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Query, Result};
use regex::Regex;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{Condition, DbBackend};
use serde_json::Value;

use super::instance::Column;
use super::states::{self, VmState};
use crate::microversions::{CHANGES_BEFORE, HOSTNAME, IP6_FILTER, LOCKED_FILTER, MORE_FILTERS, STATUS_FILTER_CHECKED, STRICT, TAGS};
use crate::validate;

/// Known keys of the query, for the versions that refuse others, beside those that are regular expressions.
const QUERY: &[&str] = &[
    "limit",
    "marker",
    "sort_key",
    "sort_dir",
    "all_tenants",
    "status",
    "image",
    "image_ref",
    "changes-since",
    "changes-before",
    "locked",
    "project_id",
    "tenant_id",
    "user_id",
    "host",
    "deleted",
    "soft_deleted",
    "uuid",
    "vm_state",
    "task_state",
    "launch_index",
];

/// Keys whose values are regular expressions, or are written so that they could be.
const EXPRESSIONS: &[&str] = &[
    "access_ip_v4",
    "access_ip_v6",
    "auto_disk_config",
    "availability_zone",
    "config_drive",
    "created_at",
    "description",
    "display_description",
    "display_name",
    "flavor",
    "hostname",
    "ip",
    "ip6",
    "kernel_id",
    "key_name",
    "launched_at",
    "locked_by",
    "name",
    "node",
    "not-tags",
    "not-tags-any",
    "power_state",
    "progress",
    "ramdisk_id",
    "reservation_id",
    "root_device_name",
    "tags",
    "tags-any",
    "terminated_at",
];

/// What nova keeps in tables of their own, and finds no servers by.
const JOINED: &[&str] =
    &["block_device_mapping", "services", "metadata", "system_metadata", "info_cache", "security_groups", "pci_devices"];

/// Everybody's.
const EXACT: &[(&str, Column)] = &[("image", Column::ImageId), ("image_ref", Column::ImageId), ("flavor", Column::FlavorId)];
const FITTING: &[(&str, Column)] = &[("name", Column::Name), ("display_name", Column::Name), ("reservation_id", Column::ReservationId)];

/// Everybody's since 2.83, administrators' before.
const EXACT_LATER: &[(&str, Column)] = &[("user_id", Column::UserId), ("vm_state", Column::VmState), ("task_state", Column::TaskState)];
const FITTING_LATER: &[(&str, Column)] = &[("key_name", Column::KeyName), ("availability_zone", Column::AvailabilityZone)];

const EXACT_ADMIN: &[(&str, Column)] = &[("host", Column::Host), ("uuid", Column::Id)];
const FITTING_ADMIN: &[(&str, Column)] = &[
    ("node", Column::Node),
    ("access_ip_v4", Column::AccessIpV4),
    ("access_ip_v6", Column::AccessIpV6),
    ("locked_by", Column::LockedBy),
    ("root_device_name", Column::RootDeviceName),
    ("description", Column::Description),
    ("display_description", Column::Description),
];

const MOMENTS: &[(&str, Column)] =
    &[("created_at", Column::CreatedAt), ("launched_at", Column::LaunchedAt), ("terminated_at", Column::TerminatedAt)];

/// Refuses what no version could filter by, and since 2.75 what is not known.
pub fn check(ctx: &Context, query: &Query) -> Result<()> {
    let keys = || query.0.iter().map(|(key, _)| key.as_str());
    let no_filter = |key: &&str| JOINED.contains(key) || key.starts_with('_');
    if ctx.speaks(STRICT) {
        let known = |key: &str| QUERY.contains(&key) || EXPRESSIONS.contains(&key) || no_filter(&key);
        kit::microversion::unexpected(&keys().filter(|key| !known(key)).collect::<Vec<_>>())?;
    }
    for (key, value) in query.0.iter().filter(|(key, _)| EXPRESSIONS.contains(&key.as_str())) {
        if value.is_empty() || Regex::new(value).is_err() {
            return Err(validate::invalid_query(key, value, format!("'{value}' is not a 'regex'")));
        }
    }
    match keys().find(no_filter).filter(|_| all_filters(ctx)) {
        Some(key) => Err(Error::bad_request(format!("Invalid filter field: {key}."))),
        None => Ok(()),
    }
}

/// Adds the query's filters; `None` when nothing can match.
pub fn filters(ctx: &Context, query: &Query, database: DbBackend, all: Condition) -> Result<Option<Condition>> {
    let every = all_filters(ctx);
    let all = changed(ctx, query, all)?;
    let Some(status) = status_filter(ctx, query)? else { return Ok(None) };
    let mut all = fitting(query, database, FITTING, all.add(status));
    for (key, column) in EXACT {
        if let Some(value) = query.get(key) {
            all = all.add(column.eq(validate::id_of(value)));
        }
    }
    for key in ["ip", "ip6"] {
        if let Some(value) = query.get(key).filter(|_| key == "ip" || every || ctx.speaks(IP6_FILTER)) {
            all = all.add(address_filter(database, value));
        }
    }
    if let Some(locked) = query.get("locked").filter(|_| ctx.speaks(LOCKED_FILTER)) {
        all = all.add(Column::Locked.eq(validate::boolean("locked", &Value::String(locked.to_owned()))?));
    }
    if every || ctx.speaks(MORE_FILTERS) {
        let Some(more) = later_filters(query, fitting(query, database, FITTING_LATER, all))? else { return Ok(None) };
        all = more;
    }
    if every || ctx.speaks(HOSTNAME) {
        all = fitting(query, database, &[("hostname", Column::Hostname)], all);
    }
    if every {
        all = admin_filters(query, fitting(query, database, FITTING_ADMIN, all))?;
    }
    Ok(Some(if ctx.speaks(TAGS) { tag_filters(query, all) } else { all }))
}

/// Whether the caller filters by whatever there is.
fn all_filters(ctx: &Context) -> bool {
    ctx.allows("os_compute_api:servers:allow_all_filters", &Target::project(ctx.project_id().unwrap_or_default()))
}

/// Columns with a place that the query's regular expressions fit.
fn fitting(query: &Query, database: DbBackend, columns: &[(&str, Column)], all: Condition) -> Condition {
    let wanted = columns.iter().filter_map(|(key, column)| query.get(key).map(|pattern| (column, pattern)));
    wanted.fold(all, |all, (column, pattern)| all.add(kit::db::fits(database, column.into_expr(), pattern)))
}

/// By the time of the last change, and by whether they are still there.
fn changed(ctx: &Context, query: &Query, mut all: Condition) -> Result<Condition> {
    let since = moment(query, "changes-since")?;
    let before = moment(query, "changes-before")?.filter(|_| ctx.speaks(CHANGES_BEFORE));
    if let (Some(since), Some(before)) = (since, before)
        && since > before
    {
        return Err(Error::bad_request("The value of changes-since must be less than or equal to changes-before."));
    }
    if let Some(since) = since {
        all = all.add(Column::UpdatedAt.gte(since));
    }
    if let Some(before) = before {
        all = all.add(Column::UpdatedAt.lte(before));
    }
    let every = all_filters(ctx);
    let admins = |key: &str| query.get(key).filter(|_| every).map(kit::call::truthy);
    let wants_deleted = query.all("status").any(|status| status.eq_ignore_ascii_case("deleted"));
    match admins("deleted") {
        Some(deleted) => all = all.add(Column::Deleted.eq(deleted)),
        // what changed may also have gone
        None if since.is_some() || before.is_some() => return Ok(all),
        None => all = all.add(Column::Deleted.eq(wants_deleted)),
    }
    let soft = query.all("status").any(|status| status.eq_ignore_ascii_case("soft_deleted"));
    if !soft && admins("soft_deleted") != Some(true) {
        all = all.add(Column::VmState.ne(VmState::SoftDeleted.word()));
    }
    Ok(all)
}

fn moment(query: &Query, key: &str) -> Result<Option<Timestamp>> {
    let Some(text) = query.get(key) else { return Ok(None) };
    let parsed = Timestamp::parse(text);
    parsed.map(Some).ok_or_else(|| validate::invalid_query(key, text, format!("'{text}' is not a 'date-time'")))
}

/// `None` when nothing can match.
fn later_filters(query: &Query, mut all: Condition) -> Result<Option<Condition>> {
    for (key, column) in EXACT_LATER {
        if let Some(value) = query.get(key) {
            all = all.add(column.eq(value));
        }
    }
    for (key, column) in MOMENTS {
        if let Some(at) = moment(query, key)? {
            all = all.add(column.eq(at));
        }
    }
    if let Some(state) = query.get("power_state") {
        let number: i64 = state.parse().map_err(|_| validate::invalid_query("power_state", state, "It is not an integer"))?;
        all = all.add(Column::PowerState.eq(number));
    }
    if let Some(drive) = query.get("config_drive") {
        all = all.add(Column::ConfigDrive.eq(kit::call::truthy(drive)));
    }
    // nothing of ours is ever half done
    if query.get("progress").is_some_and(|progress| progress != "0") {
        return Ok(None);
    }
    Ok(Some(all))
}

fn admin_filters(query: &Query, mut all: Condition) -> Result<Condition> {
    for (key, column) in EXACT_ADMIN {
        if let Some(value) = query.get(key) {
            all = all.add(column.eq(value));
        }
    }
    if let Some(index) = query.get("launch_index") {
        let number: i64 = index.parse().map_err(|_| validate::invalid_query("launch_index", index, "It is not an integer"))?;
        all = all.add(Column::LaunchIndex.eq(number));
    }
    if let Some(config) = query.get("auto_disk_config") {
        all = all.add(Column::DiskConfig.eq(if kit::call::truthy(config) { "AUTO" } else { "MANUAL" }));
    }
    Ok(all)
}

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

/// Servers of which an address fits. They stand between commas, and are looked at as lines.
fn address_filter(database: DbBackend, pattern: &str) -> Expr {
    let lines = Func::cust("REPLACE").args([Column::Addresses.into_expr(), Expr::value(","), Expr::value("\n")]);
    let by_line = if database == DbBackend::Postgres { "(?n)" } else { "(?m)" };
    kit::db::fits(database, lines.into(), &format!("{by_line}(?:{pattern})"))
}

/// What LIKE would take for something else.
fn literal(letter: char) -> impl Iterator<Item = char> {
    matches!(letter, '%' | '_' | '\\').then_some('\\').into_iter().chain(std::iter::once(letter))
}

fn tag_filters(query: &Query, mut all: Condition) -> Condition {
    let has = |tag: &str| {
        let quoted: String = serde_json::to_string(tag).unwrap_or_default().chars().flat_map(literal).collect();
        Column::Tags.like(LikeExpr::new(format!("%{quoted}%")).escape('\\'))
    };
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
