//! Pages of lists in SQL: order by any keys, and go on behind a marker.

use kit::collection::Page;
use kit::{Context, Error, Query, Result};
use sea_orm::sea_query::{Expr, ExprTrait, Order};
use sea_orm::{Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, Value};
use serde_json::json;

/// Rows a page has at most.
const MAX: u64 = 1000;

/// Reads a list's page; newest first unless told.
pub fn parse(query: &Query) -> Result<Page> {
    let mut page = Page::parse(query, MAX, MAX)?;
    if page.sort.is_empty() {
        page.sort.push(("created_at".into(), false));
    }
    if !page.sort.iter().any(|(key, _)| key == "id") {
        let ascending = page.sort.last().is_some_and(|(_, ascending)| *ascending);
        page.sort.push(("id".into(), ascending));
    }
    Ok(page)
}

/// What can be sorted: an expression that is never null, and its value at the marker.
pub struct Key {
    pub expr: Expr,
    pub at_marker: Option<Value>,
}

/// Orders `select` by `keys`, begins behind the marker, and takes one row more than the page has.
pub fn apply<E: EntityTrait>(mut select: Select<E>, page: &Page, keys: Vec<Key>) -> Select<E> {
    let mut behind = Condition::any();
    let mut equal = Condition::all();
    for (key, (_, ascending)) in keys.iter().zip(&page.sort) {
        if let Some(value) = &key.at_marker {
            let value = Expr::value(value.clone());
            let after = if *ascending { key.expr.clone().gt(value.clone()) } else { key.expr.clone().lt(value.clone()) };
            behind = behind.add(equal.clone().add(after));
            equal = equal.add(key.expr.clone().eq(value));
        }
        select = select.order_by(key.expr.clone(), if *ascending { Order::Asc } else { Order::Desc });
    }
    if page.marker.is_some() {
        select = select.filter(behind);
    }
    select.offset(page.offset).limit(page.limit + 1)
}

/// Adds `volumes_links` and `count` to a list.
pub fn finish(
    ctx: &Context,
    query: &Query,
    path: &str,
    key: &str,
    rows: serde_json::Value,
    next: Option<&str>,
    count: Option<u64>,
) -> serde_json::Value {
    let mut body = json!({key: rows});
    if let Some(marker) = next {
        let href = kit::collection::next_href(&ctx.link(path), query, marker);
        body[format!("{key}_links")] = json!([{"rel": "next", "href": href}]);
    }
    if let Some(count) = count {
        body["count"] = json!(count);
    }
    body
}

/// The error for a marker that is not there.
pub fn no_marker(marker: &str) -> Error {
    Error::bad_request(format!("Marker {marker} could not be found."))
}
