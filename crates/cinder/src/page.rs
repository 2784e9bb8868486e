//! Pages of lists in SQL: order by any keys, go on behind a marker, count, and link the next page.

use kit::collection::{self, Page};
use kit::{Context, Error, Query, Reply, Result};
use sea_orm::sea_query::{ColumnType, Expr, ExprTrait, Func, Order};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, ModelTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, Value,
};
use serde_json::json;

use crate::microversions::WITH_COUNT;

/// Rows a page has at most.
const MAX: u64 = 1000;

/// What a list can be sorted by: the API's word and the column. `id` is always among them.
pub type Sorts<E> = &'static [(&'static str, <E as EntityTrait>::Column)];

/// One page, and what is said about it.
pub struct Rows<T> {
    pub rows: Vec<T>,
    /// The marker of the next page.
    next: Option<String>,
    count: Option<u64>,
}

/// The page of `select` that the query asks for; newest first unless told.
pub async fn fetch<E>(db: &impl ConnectionTrait, ctx: &Context, query: &Query, select: Select<E>, sorts: Sorts<E>) -> Result<Rows<E::Model>>
where
    E: EntityTrait,
    E::Model: ModelTrait<Entity = E> + Sync,
{
    let page = parse(query)?;
    let id = column::<E>(sorts, "id")?;
    let marker = match &page.marker {
        None => None,
        Some(marker) => Some(E::find().filter(id.eq(marker.as_str())).one(db).await?.ok_or_else(|| no_marker(marker))?),
    };
    let count = match ctx.speaks(WITH_COUNT) && query.flag("with_count") {
        true => Some(select.clone().count(db).await?),
        false => None,
    };
    let columns = page.sort.iter().map(|(name, _)| column::<E>(sorts, name)).collect::<Result<Vec<_>>>()?;
    let mut rows = ordered(select, &page, &columns, marker.as_ref()).all(db).await?;
    let more = collection::cut(&mut rows, page.limit);
    // a page as full as the client asked for is linked to the next, which may be empty
    let full = page.limited && rows.len() as u64 == page.limit;
    let next = rows.last().filter(|_| more || full).map(|row| text(row.get(id)));
    Ok(Rows { rows, next, count })
}

impl<T> Rows<T> {
    pub fn map<U>(self, view: impl FnMut(T) -> U) -> Rows<U> {
        Rows { rows: self.rows.into_iter().map(view).collect(), next: self.next, count: self.count }
    }

    /// The same page with its rows seen otherwise.
    pub fn with<U>(self, rows: Vec<U>) -> Rows<U> {
        Rows { rows, next: self.next, count: self.count }
    }

    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.rows)
    }
}

impl Rows<serde_json::Value> {
    /// The list under `key`, with the link to the next page under `links`.
    pub fn reply(self, ctx: &Context, query: &Query, path: &str, key: &str, links: &str) -> Result<Reply> {
        let mut body = json!({key: self.rows});
        if let Some(marker) = self.next {
            let href = collection::next_href(&ctx.link(path), query, &marker);
            body[links] = json!([{"rel": "next", "href": href}]);
        }
        if let Some(count) = self.count {
            body["count"] = json!(count);
        }
        Reply::ok(&body)
    }
}

fn parse(query: &Query) -> Result<Page> {
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

fn column<E: EntityTrait>(sorts: Sorts<E>, name: &str) -> Result<E::Column> {
    let found = sorts.iter().find(|(word, _)| *word == name).map(|(_, column)| *column);
    found.ok_or_else(|| Error::bad_request(format!("Invalid sort key: {name}")))
}

/// Orders by the columns, begins behind the marker, and takes one row more than the page has.
fn ordered<E: EntityTrait>(mut select: Select<E>, page: &Page, columns: &[E::Column], marker: Option<&E::Model>) -> Select<E>
where
    E::Model: ModelTrait<Entity = E>,
{
    let mut behind = Condition::any();
    let mut equal = Condition::all();
    for (column, (_, ascending)) in columns.iter().zip(&page.sort) {
        let blank = blank(column);
        let key = || match &blank {
            None => Expr::col(column.as_column_ref()),
            Some(blank) => Func::coalesce([Expr::col(column.as_column_ref()), Expr::value(blank.clone())]).into(),
        };
        if let Some(marker) = marker {
            let value = marker.get(*column);
            let value = Expr::value(blank.clone().filter(|_| value == value.as_null()).unwrap_or(value));
            let after = if *ascending { key().gt(value.clone()) } else { key().lt(value.clone()) };
            behind = behind.add(equal.clone().add(after));
            equal = equal.add(key().eq(value));
        }
        select = select.order_by(key(), if *ascending { Order::Asc } else { Order::Desc });
    }
    if marker.is_some() {
        select = select.filter(behind);
    }
    select.offset(page.offset).limit(page.limit + 1)
}

/// What stands for null in the order, which nulls have none of; nothing where there are no nulls.
fn blank(column: &impl ColumnTrait) -> Option<Value> {
    let def = column.def();
    def.is_null().then(|| match def.get_column_type() {
        ColumnType::BigInteger | ColumnType::Integer | ColumnType::Boolean => Value::from(0i64),
        _ => Value::from(""),
    })
}

fn text(value: Value) -> String {
    match value {
        Value::String(Some(text)) => text,
        other => other.to_string(),
    }
}

fn no_marker(marker: &str) -> Error {
    Error::not_found(format!("Marker {marker} could not be found."))
}
