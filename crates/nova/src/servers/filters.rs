//! What lists of servers are filtered by: everybody's filters, those of later versions, and those that only administrators have.

use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Query, Result};
use sea_orm::Condition;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, LikeExpr};
use serde_json::Value;

use super::instance::Column;
use super::states::{self, VmState};
use crate::microversions::{CHANGES_BEFORE, IP6_FILTER, LOCKED_FILTER, MORE_FILTERS, STATUS_FILTER_CHECKED, TAGS};
use crate::validate;

/// Known keys of the query, for the versions that refuse others.
pub const QUERY: &[&str] = &[
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
    "hypervisor_hostname",
];

const EXACT: &[(&str, Column)] =
    &[("image", Column::ImageId), ("image_ref", Column::ImageId), ("flavor", Column::FlavorId), ("reservation_id", Column::ReservationId)];

/// Everybody's since 2.83, administrators' before.
const EXACT_LATER: &[(&str, Column)] = &[
    ("user_id", Column::UserId),
    ("vm_state", Column::VmState),
    ("task_state", Column::TaskState),
    ("key_name", Column::KeyName),
    ("availability_zone", Column::AvailabilityZone),
];

const EXACT_ADMIN: &[(&str, Column)] = &[
    ("host", Column::Host),
    ("node", Column::Node),
    ("hypervisor_hostname", Column::Node),
    ("uuid", Column::Id),
    ("hostname", Column::Hostname),
    ("access_ip_v4", Column::AccessIpV4),
    ("access_ip_v6", Column::AccessIpV6),
    ("accessIPv4", Column::AccessIpV4),
    ("accessIPv6", Column::AccessIpV6),
    ("locked_by", Column::LockedBy),
    ("root_device_name", Column::RootDeviceName),
    ("description", Column::Description),
    ("display_description", Column::Description),
];

const MOMENTS: &[(&str, Column)] =
    &[("created_at", Column::CreatedAt), ("launched_at", Column::LaunchedAt), ("terminated_at", Column::TerminatedAt)];

/// Adds the query's filters; `None` when nothing can match.
pub fn filters(ctx: &Context, query: &Query, all: Condition) -> Result<Option<Condition>> {
    let every = all_filters(ctx);
    let all = changed(ctx, query, all)?;
    let Some(status) = status_filter(ctx, query)? else { return Ok(None) };
    let mut all = all.add(status);
    if let Some(name) = query.get("name").or_else(|| query.get("display_name")) {
        all = all.add(Column::Name.like(pattern(name)));
    }
    for (key, column) in EXACT {
        if let Some(value) = query.get(key) {
            all = all.add(column.eq(validate::id_of(value)));
        }
    }
    for key in ["ip", "ip6"] {
        if let Some(value) = query.get(key).filter(|_| key == "ip" || every || ctx.speaks(IP6_FILTER)) {
            all = all.add(address_filter(value));
        }
    }
    if let Some(locked) = query.get("locked").filter(|_| ctx.speaks(LOCKED_FILTER)) {
        all = all.add(Column::Locked.eq(validate::boolean("locked", &Value::String(locked.to_owned()))?));
    }
    if every || ctx.speaks(MORE_FILTERS) {
        let Some(more) = later_filters(query, all)? else { return Ok(None) };
        all = more;
    }
    if every {
        all = admin_filters(query, all)?;
    }
    Ok(Some(if ctx.speaks(TAGS) { tag_filters(query, all) } else { all }))
}

/// Whether the caller filters by whatever there is.
fn all_filters(ctx: &Context) -> bool {
    ctx.allows("os_compute_api:servers:allow_all_filters", &Target::project(ctx.project_id().unwrap_or_default()))
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
        None if since.is_some() => return Ok(all),
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
    parsed.map(Some).ok_or_else(|| validate::invalid(&format!("query parameters {key}"), text, format!("'{text}' is not a 'date-time'")))
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
        let number: i64 = state.parse().map_err(|_| validate::invalid("query parameters power_state", state, "It is not an integer"))?;
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
    if let Some(name) = query.get("instance_name") {
        let number = name.strip_prefix("instance-").and_then(|hex| i64::from_str_radix(hex, 16).ok());
        all = all.add(Column::Number.eq(number.unwrap_or(-1)));
    }
    if let Some(index) = query.get("launch_index") {
        let number: i64 = index.parse().map_err(|_| validate::invalid("query parameters launch_index", index, "It is not an integer"))?;
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

/// A part of the name, as the regular expressions that nova takes, in the words of LIKE: `^` and `$` hold it to the beginning and the end, `.` is any
/// letter. A class of letters stands for any letter, and what may be repeated or left out for anything: a few more names may match.
fn pattern(regex: &str) -> LikeExpr {
    LikeExpr::new(like(regex)).escape('\\')
}

fn like(regex: &str) -> String {
    let (begins, ends) = (regex.starts_with('^'), regex.ends_with('$') && !regex.ends_with("\\$"));
    let inner = regex.strip_prefix('^').unwrap_or(regex);
    let inner = if ends { inner.strip_suffix('$').unwrap_or(inner) } else { inner };
    let mut like = String::from(if begins { "" } else { "%" });
    let mut letters = inner.chars().peekable();
    while let Some(letter) = letters.next() {
        let one: String = match letter {
            '.' => "_".into(),
            '[' => {
                // the class ends at the next bracket
                letters.by_ref().take_while(|letter| *letter != ']').for_each(drop);
                "_".into()
            }
            '\\' => match letters.next() {
                Some('d' | 'w' | 's' | 'D' | 'W' | 'S') => "_".into(),
                escaped => escaped.into_iter().flat_map(literal).collect(),
            },
            other => literal(other).collect(),
        };
        match letters.next_if(|letter| matches!(letter, '*' | '+' | '?')) {
            Some('+') => like.push_str(&format!("{one}%")),
            Some(_) => like.push('%'),
            None => like.push_str(&one),
        }
    }
    like.push_str(if ends { "" } else { "%" });
    like
}

fn literal(letter: char) -> impl Iterator<Item = char> {
    matches!(letter, '%' | '_' | '\\').then_some('\\').into_iter().chain(std::iter::once(letter))
}

/// A part of an address, or with `^` its beginning.
fn address_filter(pattern: &str) -> Condition {
    let literal: String = pattern.chars().filter(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':')).collect();
    let (begin, end) = (if pattern.starts_with('^') { "," } else { "" }, if pattern.ends_with('$') { "," } else { "" });
    Condition::all().add(Column::Addresses.like(format!("%{begin}{literal}{end}%")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_expressions_become_patterns() {
        for (regex, expected) in [
            ("web", "%web%"),
            ("^web", "web%"),
            ("web$", "%web"),
            ("^a.*b$", "a%b"),
            ("a.b", "%a_b%"),
            ("100%_", "%100\\%\\_%"),
            (r"^.*\-instance\-[0-9]+$", "%-instance-_%"),
            (r"a\.b", "%a.b%"),
        ] {
            assert_eq!(like(regex), expected, "{regex}");
        }
    }
}
