//! Which volumes a list shows. Filters nobody knows are dropped, as cinder does.

use kit::clock::Timestamp;
use kit::collection::Page;
use kit::{Context, Error, Query, Result};
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{ActiveEnum, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Select, Value};
use serde_json::Map;

use super::store::{Kind, pairs, status_filter};
use super::{Column, Entity, Volume, store};
use crate::microversions::{LIKE_FILTER, TIME_FILTERS};
use crate::page::{self, Key};

/// The filters that are known, for `/resource_filters`.
pub const KNOWN: &[&str] = &["name", "status", "metadata", "bootable", "migration_status", "availability_zone", "group_id", "size"];

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
    for (key, value) in &query.0 {
        let condition = match key.as_str() {
            "name" | "display_name" => Condition::all().add(Column::Name.eq(value)),
            "name~" if ctx.speaks(LIKE_FILTER) => Condition::all().add(Column::Name.contains(value)),
            "status" => one_of(status_filter(value)),
            "availability_zone" => Condition::all().add(Column::AvailabilityZone.eq(value)),
            "bootable" => Condition::all().add(Column::Bootable.eq(flag("bootable", value)?)),
            "multiattach" => Condition::all().add(Column::Multiattach.eq(flag("multiattach", value)?)),
            "size" => one_of(value.parse::<i64>().ok().map(|size| Column::Size.eq(size))),
            "migration_status" => Condition::all().add(Column::MigrationStatus.eq(value)),
            "user_id" => Condition::all().add(Column::UserId.eq(value)),
            "snapshot_id" => Condition::all().add(Column::SnapshotId.eq(value)),
            "host" if ctx.is_admin() => Condition::all().add(Column::Host.eq(value.split('#').next())),
            // nothing here is in a group
            "group_id" | "consistencygroup_id" => one_of(None),
            "metadata" => metadata(Kind::User, value)?,
            "glance_metadata" => metadata(Kind::Image, value)?,
            "created_at" if ctx.speaks(TIME_FILTERS) => times(Column::CreatedAt, value)?,
            "updated_at" if ctx.speaks(TIME_FILTERS) => times(Column::UpdatedAt, value)?,
            _ => continue,
        };
        select = select.filter(condition);
    }
    Ok(select)
}

/// Orders and cuts the selected volumes.
pub async fn paged(db: &impl ConnectionTrait, select: Select<Entity>, page: &Page) -> Result<Vec<Volume>> {
    let marker = match &page.marker {
        None => None,
        Some(id) => Some(store::find(db, id).await?.ok_or_else(|| page::no_marker(id))?),
    };
    let keys = page.sort.iter().map(|(name, _)| key(name, marker.as_ref())).collect::<Result<Vec<_>>>()?;
    Ok(page::apply(select, page, keys).all(db).await?)
}

fn key(name: &str, marker: Option<&Volume>) -> Result<Key> {
    let text = |column: Column| Expr::from(Func::coalesce([Expr::col((Entity, column)), Expr::value("")]));
    let time = |column: Column| Expr::from(Func::coalesce([Expr::col((Entity, column)), Expr::value(0i64)]));
    let plain = |column: Column| Expr::col((Entity, column));
    let (expr, at_marker): (Expr, Option<Value>) = match name {
        "id" => (plain(Column::Id), marker.map(|v| v.id.clone().into())),
        "name" | "display_name" => (text(Column::Name), marker.map(|v| v.name.clone().unwrap_or_default().into())),
        "size" => (plain(Column::Size), marker.map(|v| v.size.into())),
        "status" => (plain(Column::Status), marker.map(|v| v.status.to_value().into())),
        "availability_zone" => (plain(Column::AvailabilityZone), marker.map(|v| v.availability_zone.clone().into())),
        "host" => (text(Column::Host), marker.map(|v| v.host.clone().unwrap_or_default().into())),
        "bootable" => (plain(Column::Bootable), marker.map(|v| v.bootable.into())),
        "volume_type_id" => (plain(Column::TypeId), marker.map(|v| v.type_id.clone().into())),
        "project_id" => (plain(Column::ProjectId), marker.map(|v| v.project_id.clone().into())),
        "user_id" => (plain(Column::UserId), marker.map(|v| v.user_id.clone().into())),
        "created_at" => (plain(Column::CreatedAt), marker.map(|v| v.created_at.0.into())),
        "updated_at" => (time(Column::UpdatedAt), marker.map(|v| v.updated_at.map_or(0, |at| at.0).into())),
        other => return Err(Error::bad_request(format!("Invalid sort key: {other}"))),
    };
    Ok(Key { expr, at_marker })
}

fn one_of(expr: Option<Expr>) -> Condition {
    Condition::all().add(expr.unwrap_or_else(|| Expr::value(1).eq(0)))
}

fn flag(name: &str, value: &str) -> Result<bool> {
    let value = serde_json::Value::String(value.to_owned());
    crate::body::truth(&value).ok_or_else(|| Error::bad_request(format!("Value '{value}' is not a valid {name} filter.")))
}

/// `{"key": "value"}`, or the same as Python writes it.
fn metadata(kind: Kind, text: &str) -> Result<Condition> {
    let json: Map<String, serde_json::Value> = serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&text.replace('\'', "\"")))
        .map_err(|_| Error::bad_request(format!("Invalid filter metadata: {text}")))?;
    let mut all = Condition::all();
    for (key, value) in json {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
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

/// `gt:2026-01-01,lte:2026-02-01`
fn times(column: Column, text: &str) -> Result<Condition> {
    let mut all = Condition::all();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (operator, moment) = part.split_once(':').filter(|(op, _)| op.chars().all(char::is_alphabetic)).unwrap_or(("eq", part));
        let at = Timestamp::parse(moment).ok_or_else(|| Error::bad_request(format!("Invalid time filter: {text}")))?;
        all = all.add(match operator {
            "gt" => column.gt(at),
            "gte" => column.gte(at),
            "lt" => column.lt(at),
            "lte" => column.lte(at),
            "eq" => column.eq(at),
            "neq" => column.ne(at),
            _ => return Err(Error::bad_request(format!("Invalid time filter: {text}"))),
        });
    }
    Ok(all)
}
