//! Which volumes a list shows. Filters nobody knows are dropped, as cinder does.

use kit::{Context, Query, Result};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Select};

use super::migrate::TARGET;
use super::store::{Kind, pairs, status_filter};
use super::{AttachStatus, Column, Entity, store};
use crate::filter;
use crate::filter::{flag, nothing, times};
use crate::microversions::{CONSUMES_QUOTA, GLANCE_METADATA_FILTER, GROUP_FILTER, LIKE_FILTER, STRICT_FLAGS, TIME_FILTERS};
use crate::page::Sorts;

/// The filters that are known, for `/resource_filters`.
pub const KNOWN: &[&str] = &[
    "name",
    "status",
    "metadata",
    "bootable",
    "migration_status",
    "availability_zone",
    "group_id",
    "size",
    "created_at",
    "updated_at",
    "glance_metadata",
    "volume_type_id",
    "multiattach",
    "consumes_quota",
];

pub const SORTS: Sorts<Entity> = &[
    ("id", Column::Id),
    ("name", Column::Name),
    ("display_name", Column::Name),
    ("size", Column::Size),
    ("status", Column::Status),
    ("attach_status", Column::AttachStatus),
    ("availability_zone", Column::AvailabilityZone),
    ("host", Column::Host),
    ("bootable", Column::Bootable),
    ("volume_type_id", Column::TypeId),
    ("group_id", Column::GroupId),
    ("project_id", Column::ProjectId),
    ("user_id", Column::UserId),
    ("created_at", Column::CreatedAt),
    ("updated_at", Column::UpdatedAt),
];

/// Whose volumes the caller asked for: `None` for everybody's, which only an administrator gets.
pub fn project<'a>(ctx: &'a Context, query: &'a Query) -> Result<Option<&'a str>> {
    if query.flag("all_tenants") && ctx.is_service_or_admin() {
        return Ok(query.get("project_id"));
    }
    ctx.project_id().map(Some)
}

/// The volumes that the query's filters leave.
pub fn select(ctx: &Context, query: &Query) -> Result<Select<Entity>> {
    let mut select = store::of(project(ctx, query)?);
    if !ctx.is_admin() {
        let ordinary = Condition::any().add(Column::MigrationStatus.is_null()).add(Column::MigrationStatus.not_like(format!("{TARGET}%")));
        select = select.filter(ordinary);
    }
    for (key, value) in &query.0 {
        let condition = match key.as_str() {
            "name" | "display_name" => Column::Name.eq(value).into(),
            "name~" | "display_name~" if ctx.speaks(LIKE_FILTER) => Column::Name.contains(value).into(),
            "description" | "display_description" => Column::Description.eq(value).into(),
            "id" => Column::Id.is_in(value.split(',')).into(),
            "status" => status_filter(value).map_or_else(nothing, Condition::from),
            "attach_status" => Column::AttachStatus.eq(AttachStatus::parse(value)).into(),
            "availability_zone" => Column::AvailabilityZone.eq(value).into(),
            "bootable" => Column::Bootable.eq(strict_flag(ctx, "bootable", value)?).into(),
            "multiattach" => Column::Multiattach.eq(strict_flag(ctx, "multiattach", value)?).into(),
            "size" => value.parse::<i64>().map_or_else(|_| nothing(), |size| Column::Size.eq(size).into()),
            "migration_status" => Column::MigrationStatus.eq(value).into(),
            "user_id" => Column::UserId.eq(value).into(),
            "snapshot_id" => Column::SnapshotId.eq(value).into(),
            "source_volid" => Column::SourceVolid.eq(value).into(),
            "volume_type_id" => Column::TypeId.eq(value).into(),
            "encryption_key_id" => Column::EncryptionKeyId.eq(value).into(),
            "host" if ctx.is_admin() => Column::Host.eq(value.split('#').next()).into(),
            "group_id" if ctx.speaks(GROUP_FILTER) => Column::GroupId.eq(value).into(),
            "consistencygroup_id" => Column::GroupId.eq(value).into(),
            "metadata" => metadata(Kind::User, value)?,
            "glance_metadata" if ctx.speaks(GLANCE_METADATA_FILTER) => metadata(Kind::Image, value)?,
            "created_at" if ctx.speaks(TIME_FILTERS) => times(Column::CreatedAt, value)?,
            "updated_at" if ctx.speaks(TIME_FILTERS) => times(Column::UpdatedAt, value)?,
            // what this cinder keeps always counts
            "consumes_quota" if ctx.speaks(CONSUMES_QUOTA) && !flag("consumes_quota", value)? => nothing(),
            _ => continue,
        };
        select = select.filter(condition);
    }
    Ok(select)
}

/// Before 3.2 whatever is not said to be false is true.
fn strict_flag(ctx: &Context, name: &str, value: &str) -> Result<bool> {
    match ctx.speaks(STRICT_FLAGS) {
        true => flag(name, value),
        false => Ok(!value.is_empty() && !matches!(value, "False" | "false" | "FALSE")),
    }
}

fn metadata(kind: Kind, text: &str) -> Result<Condition> {
    let mut all = Condition::all();
    for (key, value) in filter::pairs("metadata", text)? {
        let having = pairs::Entity::find()
            .select_only()
            .column(pairs::Column::VolumeId)
            .filter(pairs::Column::Kind.eq(kind.text()))
            .filter(pairs::Column::Key.eq(key))
            .filter(pairs::Column::Value.eq(value));
        all = all.add(Column::Id.in_subquery(having.into_query()));
    }
    Ok(all)
}
