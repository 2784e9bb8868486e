//! Lists: filters on columns, pages, and the envelope around them.

use std::collections::BTreeSet;

use kit::call::Query;
use kit::clock::Timestamp;
use kit::collection::{Page, cut, next_href};
use kit::{Context, Error, Reply, Result};
use sea_orm::sea_query::{ExprTrait, Func, LikeExpr};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, ModelTrait, Order, QueryFilter, QueryOrder, QuerySelect, Select};
use serde_json::{Map, Value, json};

use crate::fields::Extra;

/// Rows a list has at most when the client names no limit.
const LIMIT: u64 = 1000;
/// And when it does.
const MOST: u64 = 10_000;
/// Ids in one statement: databases bound how many values it may have.
pub const BUNCH: usize = 500;

/// `name=x`, and the inexact forms: `name__contains`, `name__startswith`, `name__endswith`, each also with an `i` before for any case.
pub fn by_text(query: &Query, key: &str, column: impl ColumnTrait) -> Condition {
    let mut condition = Condition::all();
    for (sent, value) in &query.0 {
        let Some(form) = sent.strip_prefix(key) else { continue };
        let like = |pattern: String| column.into_expr().like(LikeExpr::new(pattern).escape('\\'));
        let like_lower = |pattern: String| Func::lower(column.into_expr()).like(LikeExpr::new(pattern.to_lowercase()).escape('\\'));
        let literal = escaped(value);
        condition = match form {
            "" => condition.add(column.eq(value)),
            "__contains" => condition.add(like(format!("%{literal}%"))),
            "__startswith" => condition.add(like(format!("{literal}%"))),
            "__endswith" => condition.add(like(format!("%{literal}"))),
            "__icontains" => condition.add(like_lower(format!("%{literal}%"))),
            "__istartswith" => condition.add(like_lower(format!("{literal}%"))),
            "__iendswith" => condition.add(like_lower(format!("%{literal}"))),
            _ => condition,
        };
    }
    condition
}

/// What LIKE would take for a pattern, taken at its word.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// `enabled=false` and `enabled=0` are false, every other value is true.
pub fn by_flag(query: &Query, key: &str, column: impl ColumnTrait) -> Condition {
    match query.get(key) {
        None => Condition::all(),
        Some(value) => Condition::all().add(column.eq(!is_false(value))),
    }
}

/// The same for what was not found by a query of its own.
pub fn matches(query: &Query, key: &str, text: &str) -> bool {
    let lower = text.to_lowercase();
    query.0.iter().filter_map(|(sent, value)| Some((sent.strip_prefix(key)?, value))).all(|(form, value)| match form {
        "" => text == value,
        "__contains" => text.contains(value.as_str()),
        "__startswith" => text.starts_with(value.as_str()),
        "__endswith" => text.ends_with(value.as_str()),
        "__icontains" => lower.contains(&value.to_lowercase()),
        "__istartswith" => lower.starts_with(&value.to_lowercase()),
        "__iendswith" => lower.ends_with(&value.to_lowercase()),
        _ => true,
    })
}

pub fn is(query: &Query, key: &str, flag: bool) -> bool {
    query.get(key).is_none_or(|value| flag != is_false(value))
}

/// `lt:2026-01-31T10:00:00Z`; without an operator, that very moment.
pub fn by_time(asked: &str, key: &str, column: impl ColumnTrait) -> Result<Condition> {
    let (operator, text) = match asked.split_once(':') {
        Some((operator @ ("lt" | "lte" | "gt" | "gte" | "eq" | "neq"), text)) => (operator, text),
        Some(_) | None => ("eq", asked),
    };
    let wrong = || Error::bad_request(format!("Invalid input for query parameter '{key}': '{asked}' is no time"));
    let time = Timestamp::parse(text).ok_or_else(wrong)?;
    Ok(Condition::all().add(match operator {
        "lt" => column.lt(time),
        "lte" => column.lte(time),
        "gt" => column.gt(time),
        "gte" => column.gte(time),
        "neq" => column.ne(time),
        _ => column.eq(time),
    }))
}

fn is_false(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "0" | "false")
}

/// Rows of one page, and the marker of the next.
pub struct Rows<M> {
    pub rows: Vec<M>,
    pub next: Option<String>,
}

/// The page a query asks for, ordered by a unique column.
pub async fn page<E, C>(
    db: &impl ConnectionTrait,
    select: Select<E>,
    unique: C,
    query: &Query,
    key: fn(&E::Model) -> &str,
) -> Result<Rows<E::Model>>
where
    E: EntityTrait,
    C: ColumnTrait,
{
    let page = Page::parse(query, LIMIT, MOST)?;
    let mut select = select.order_by_asc(unique).limit(page.limit + 1);
    if let Some(marker) = page.marker {
        select = select.filter(unique.gt(marker));
    }
    let mut rows = select.all(db).await?;
    let more = cut(&mut rows, page.limit);
    let next = rows.last().filter(|_| more).map(|last| key(last).to_owned());
    Ok(Rows { rows, next })
}

/// The page of a list that can be ordered. A marker then stands behind its row, wherever that is.
pub async fn sorted_page<E, C>(
    db: &impl ConnectionTrait,
    select: Select<E>,
    unique: C,
    known: &[(&str, C)],
    query: &Query,
    key: fn(&E::Model) -> &str,
) -> Result<Rows<E::Model>>
where
    E: EntityTrait<Column = C>,
    E::Model: ModelTrait<Entity = E>,
    C: ColumnTrait,
{
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let asked = Page::parse(query, LIMIT, MOST)?;
    asked.check_sort(&names)?;
    let sort = asked.sort.first().and_then(|(name, up)| known.iter().find(|(known, _)| known == name).map(|(_, column)| (*column, *up)));
    // keystone sorts upwards unless told otherwise
    let up = sort.is_none_or(|(_, up)| up || !query.has("sort_dir"));
    let Some((column, _)) = sort else { return page(db, select, unique, query, key).await };
    let order = if up { Order::Asc } else { Order::Desc };
    let mut select = select.order_by(column, order.clone()).order_by(unique, order).limit(asked.limit + 1);
    if let Some(marker) = asked.marker {
        let row = E::find().filter(unique.eq(&marker)).one(db).await?;
        let row = row.ok_or_else(|| Error::not_found(format!("Could not find marker: {marker}.")))?;
        let (value, id) = (row.get(column), row.get(unique));
        let tie = Condition::all().add(column.eq(value.clone()));
        let behind = if up {
            Condition::any().add(column.gt(value)).add(tie.add(unique.gt(id)))
        } else {
            Condition::any().add(column.lt(value)).add(tie.add(unique.lt(id)))
        };
        select = select.filter(behind);
    }
    let mut rows = select.all(db).await?;
    let more = cut(&mut rows, asked.limit);
    let next = rows.last().filter(|_| more).map(|last| key(last).to_owned());
    Ok(Rows { rows, next })
}

/// The rows in which a column has one of these values, a bunch at a time.
pub async fn with_any<E: EntityTrait>(
    db: &impl ConnectionTrait,
    column: E::Column,
    values: impl IntoIterator<Item = String>,
) -> Result<Vec<E::Model>> {
    let values: Vec<String> = values.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let mut rows = Vec::new();
    for values in values.chunks(BUNCH) {
        rows.extend(E::find().filter(column.is_in(values)).all(db).await?);
    }
    Ok(rows)
}

/// `{"links": {...}, "users": [...]}`
pub fn envelope(ctx: &Context, path: &str, query: &Query, plural: &str, items: Vec<Value>, next: Option<String>) -> Result<Reply> {
    let here = link(ctx, path);
    let rest = query.without(&[]);
    let itself = if rest.is_empty() { here.clone() } else { format!("{here}?{rest}") };
    let mut body = Map::new();
    body.insert(plural.into(), items.into());
    if next.is_some() {
        body.insert("truncated".into(), true.into());
    }
    let next = next.map(|marker| next_href(&here, query, &marker));
    body.insert("links".into(), json!({"self": itself, "previous": null, "next": next}));
    Reply::ok(&body)
}

/// A whole list without pages.
pub fn whole(ctx: &Context, path: &str, query: &Query, plural: &str, items: Vec<Value>) -> Result<Reply> {
    envelope(ctx, path, query, plural, items, None)
}

/// `http://host:5000/v3/users/...`
pub fn link(ctx: &Context, path: &str) -> String {
    format!("{}/v3{path}", ctx.base_url)
}

/// An object of the API: its known attributes, `extra` beside them, and where it is.
pub fn object(ctx: &Context, path: &str, known: Value, extra: &Extra) -> Value {
    let mut object = extra.0.clone();
    if let Value::Object(known) = known {
        object.extend(known);
    }
    object.insert("links".into(), json!({"self": link(ctx, path)}));
    Value::Object(object)
}
