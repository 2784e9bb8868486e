//! The order of a list, and what comes behind a row in it.

use kit::collection::Page;
use kit::{Error, Query, Result};
use sea_orm::Condition;
use sea_orm::sea_query::{Expr, ExprTrait, Func};

use crate::entity::image::{self, Column};

/// Names clients may sort by.
const KEYS: &[(&str, Column)] = &[
    ("name", Column::Name),
    ("status", Column::Status),
    ("container_format", Column::ContainerFormat),
    ("disk_format", Column::DiskFormat),
    ("size", Column::Size),
    ("id", Column::Id),
    ("created_at", Column::CreatedAt),
    ("updated_at", Column::UpdatedAt),
];

/// The columns to sort by, with true for ascending; the id last, so that every image has one place.
pub fn columns(page: &Page, query: &Query) -> Result<Vec<(Column, bool)>> {
    let directions: Vec<&str> = query.all("sort_dir").collect();
    let keys = query.all("sort_key").count();
    if query.has("sort") && keys + directions.len() > 0 {
        return Err(Error::bad_request("Old and new sorting syntax cannot be combined"));
    }
    if let Some(wrong) = directions.iter().find(|text| !matches!(**text, "asc" | "desc")) {
        return Err(Error::bad_request(format!("Invalid sort direction: {wrong}")));
    }
    if directions.len() > 1 && directions.len() != keys.max(1) {
        return Err(Error::bad_request("Number of sort dirs does not match the number of sort keys"));
    }
    let mut sort = Vec::new();
    for (key, ascending) in &page.sort {
        let found = KEYS.iter().find(|(name, _)| name == key);
        let (_, column) = found.ok_or_else(|| {
            let names: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
            Error::bad_request(format!("Invalid sort key: {key}. It must be one of the following: {}.", names.join(", ")))
        })?;
        sort.push((*column, *ascending));
    }
    // a direction without a key is one for the time
    let last = sort.last().map_or(directions == ["asc"], |(_, ascending)| *ascending);
    if !sort.iter().any(|(column, _)| matches!(column, Column::CreatedAt)) {
        sort.push((Column::CreatedAt, last));
    }
    sort.push((Column::Id, last));
    Ok(sort)
}

/// A column with something in the place of null, so that rows without a value have a place too.
pub fn expression(column: Column) -> Expr {
    let own = || Expr::col((image::Entity, column));
    match column {
        Column::Name | Column::ContainerFormat | Column::DiskFormat => Func::coalesce([own(), Expr::val("")]).into(),
        Column::Size => Func::coalesce([own(), Expr::val(-1i64)]).into(),
        _ => own(),
    }
}

/// The rows that come after one, in this order.
pub fn behind(sort: &[(Column, bool)], row: &image::Model) -> Condition {
    let mut after = Condition::any();
    let mut equal = Condition::all();
    for (column, ascending) in sort {
        let place = place(*column, row);
        let beyond = if *ascending { expression(*column).gt(place.clone()) } else { expression(*column).lt(place.clone()) };
        after = after.add(equal.clone().add(beyond));
        equal = equal.add(expression(*column).eq(place));
    }
    after
}

/// Where a row stands in a column's order.
fn place(column: Column, row: &image::Model) -> Expr {
    let text = |value: &Option<String>| Expr::val(value.clone().unwrap_or_default());
    match column {
        Column::Name => text(&row.name),
        Column::ContainerFormat => text(&row.container_format),
        Column::DiskFormat => text(&row.disk_format),
        Column::Status => Expr::val(row.status.as_str()),
        Column::Size => Expr::val(row.size.unwrap_or(-1)),
        Column::UpdatedAt => Expr::val(row.updated_at.0),
        Column::CreatedAt => Expr::val(row.created_at.0),
        _ => Expr::val(row.id.clone()),
    }
}
