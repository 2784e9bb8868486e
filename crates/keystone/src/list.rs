//! Lists: filters on columns, pages, and the envelope around them.

use kit::call::Query;
use kit::collection::{Page, cut, next_href};
use kit::{Context, Reply, Result};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use serde_json::{Map, Value, json};

use crate::fields::Extra;

/// Rows a list has at most when the client names no limit.
const LIMIT: u64 = 1000;
/// And when it does.
const MOST: u64 = 10_000;

/// `name=x`, and the inexact forms: `name__contains`, `name__startswith`, `name__endswith`, each also with an `i` before for any case.
pub fn by_text(query: &Query, key: &str, column: impl ColumnTrait) -> Condition {
    let mut condition = Condition::all();
    for (sent, value) in &query.0 {
        let Some(form) = sent.strip_prefix(key) else { continue };
        condition = match form {
            "" => condition.add(column.eq(value)),
            "__contains" | "__icontains" => condition.add(column.contains(value)),
            "__startswith" | "__istartswith" => condition.add(column.starts_with(value)),
            "__endswith" | "__iendswith" => condition.add(column.ends_with(value)),
            _ => condition,
        };
    }
    condition
}

/// `enabled=false` and `enabled=0` are false, every other value is true.
pub fn by_flag(query: &Query, key: &str, column: impl ColumnTrait) -> Condition {
    match query.get(key) {
        None => Condition::all(),
        Some(value) => Condition::all().add(column.eq(!matches!(value.to_ascii_lowercase().as_str(), "0" | "false"))),
    }
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
