//! Lists and shows: filters on any attribute, fields, order, pages and their links, the same for every resource, done in SQL.

use kit::call::truthy;
use kit::clock::Timestamp;
use kit::{Context, Error, Query, Reply, Result};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Func, Query as Select, SimpleExpr};
use sea_orm::{DatabaseConnection, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use crate::attributes::{Attribute, find};
use crate::fault::{bad_request, invalid_input};
use crate::resource::{Resource, Seen, missing, seen, visible};
use crate::values::Kind;
use crate::{App, rbac};

/// Query keys that are no filters.
const KEYWORDS: &[&str] = &["fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir", "verbose"];

/// Rows on a page, at most; what databases count as a number.
const MOST: u64 = 1 << 31;

/// `GET /networks`
pub async fn list<R: Resource>(app: App, ctx: Context, query: Query) -> Result<Reply> {
    let seen_by = Seen::from(&ctx);
    let mut select = R::Table::find().filter(visible::<R>(&ctx)?).filter(filters::<R>(&query, &seen_by)?);
    let page = Page::of::<R>(&query)?;
    if let Some(marker) = &page.marker {
        match seen::<R, _>(app.db().read(), &ctx, marker).await {
            Ok(_) => select = select.filter(page.beyond::<R>(marker)),
            Err(_) if R::ANY_MARKER => {}
            Err(_) => return Err(missing::<R>(marker)),
        }
    }
    for (key, ascending) in &page.order {
        select = select.order_by(sort_expr::<R>(key), if *ascending { Order::Asc } else { Order::Desc });
    }
    let mut rows = select.limit(page.limit).all(app.db().read()).await?;
    if page.reverse {
        rows.reverse();
    }
    let links = page.links(&ctx.link(&R::path()), &query, rows.iter().map(Resource::id));
    let mut views = render(app.db().read(), rows, &seen_by).await?;
    select_fields(&mut views, &query);
    Reply::ok(&List { plural: R::PLURAL, views, links })
}

/// A list as it goes out: written where it stands, not copied into one value first.
struct List {
    plural: &'static str,
    views: Vec<Map<String, Value>>,
    links: Vec<Value>,
}

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry(self.plural, &self.views)?;
        if !self.links.is_empty() {
            body.serialize_entry(&format!("{}_links", self.plural), &self.links)?;
        }
        body.end()
    }
}

/// `GET /networks/{network_id}`
pub async fn show<R: Resource>(app: App, ctx: Context, id: kit::Path<String>, query: Query) -> Result<Reply> {
    let row = seen::<R, _>(app.db().read(), &ctx, &id.0).await?;
    let mut views = render(app.db().read(), vec![row], &Seen::from(&ctx)).await?;
    select_fields(&mut views, &query);
    Reply::ok(&json!({R::KEY: views.pop()}))
}

/// What a creation answers: one object, or many when many were asked for.
pub async fn created<R: Resource>(app: &App, ctx: &Context, rows: Vec<R>, bulk: bool) -> Result<Reply> {
    let mut views = render(app.db().read(), rows, &Seen::from(ctx)).await?;
    if bulk { Reply::created(&json!({R::PLURAL: views})) } else { Reply::created(&json!({R::KEY: views.pop()})) }
}

/// What an update answers.
pub async fn updated<R: Resource>(app: &App, ctx: &Context, row: R) -> Result<Reply> {
    let mut views = render(app.db().read(), vec![row], &Seen::from(ctx)).await?;
    Reply::ok(&json!({R::KEY: views.pop()}))
}

/// Views, and of what can be shared whether it is shared with whoever looks.
async fn render<R: Resource>(db: &DatabaseConnection, rows: Vec<R>, seen: &Seen) -> Result<Vec<Map<String, Value>>> {
    let mut views = R::views(db, rows, seen).await?;
    if let Some(kind) = R::SHARED_AS {
        let shared = rbac::shared_with(db, kind, &seen.project).await?;
        for view in &mut views {
            let is_shared = view.get("id").and_then(Value::as_str).is_some_and(|id| shared.contains(id));
            view.insert("shared".into(), json!(is_shared));
        }
    }
    Ok(views)
}

/// Leaves only the attributes asked for with `fields`.
pub fn select_fields(views: &mut [Map<String, Value>], query: &Query) {
    let wanted: Vec<&str> = query.all("fields").filter(|f| !f.is_empty()).collect();
    if !wanted.is_empty() {
        for view in views {
            view.retain(|key, _| wanted.contains(&key.as_str()));
        }
    }
}

/// Repeated keys mean or, different keys mean and.
fn filters<R: Resource>(query: &Query, seen: &Seen) -> Result<Condition> {
    let mut all = Condition::all();
    let mut done: Vec<&str> = Vec::new();
    let mut unknown: Vec<&str> = Vec::new();
    for (key, _) in &query.0 {
        if KEYWORDS.contains(&key.as_str()) || done.contains(&key.as_str()) {
            continue;
        }
        done.push(key);
        let values: Vec<&str> = query.all(key).collect();
        if values.iter().any(|value| value.contains('\0')) {
            return Err(Error::bad_request(format!("Invalid input for {key}. Reason: it contains a null character.")));
        }
        match filter::<R>(key, &values, seen)? {
            Some(condition) => all = all.add(condition),
            None => unknown.push(key),
        }
    }
    if unknown.is_empty() {
        return Ok(all);
    }
    Err(Error::bad_request(format!("['{}'] is invalid attribute for filtering", unknown.join("', '"))))
}

/// Nothing when there is no such filter.
fn filter<R: Resource>(key: &str, values: &[&str], seen: &Seen) -> Result<Option<Condition>> {
    if let Some(special) = R::filter(key, values, seen) {
        return Ok(Some(special));
    }
    if let (Some(kind), "shared") = (R::SHARED_AS, key) {
        let shared = Condition::all().add(Expr::col((R::TABLE, "id")).in_subquery(rbac::shared_objects(kind, &seen.project)));
        return Ok(Some(if values.iter().any(|value| truthy(value)) { shared } else { shared.not() }));
    }
    if R::TAGGED
        && let Some(tags) = tag_filter::<R>(key, values)
    {
        return Ok(Some(tags));
    }
    if key == "changed_since" && find(R::ATTRIBUTES, "updated_at").is_some() {
        let since = values.first().and_then(|text| Timestamp::parse(text));
        let wrong = || invalid_input("The input changed_since must be in the following format: YYYY-MM-DDTHH:MM:SS[+HH:MM or Z]");
        return Ok(Some(Condition::all().add(Expr::col((R::TABLE, "updated_at")).gte(since.ok_or_else(wrong)?.0))));
    }
    let Some((attribute, column)) = find(R::ATTRIBUTES, key).and_then(|attribute| Some((attribute, attribute.column?))) else {
        return Ok(None);
    };
    let mut any = Condition::any();
    for value in values {
        any = any.add(equals(Expr::col((R::TABLE, column)), attribute, value));
    }
    Ok(Some(any))
}

fn equals(column: SimpleExpr, attribute: &Attribute, value: &str) -> SimpleExpr {
    match attribute.kind {
        Kind::Bool | Kind::BoolOrNull => column.eq(truthy(value)),
        Kind::Int(..) | Kind::IntOrNull(..) | Kind::IpVersion => match value.parse::<i64>() {
            Ok(number) => column.eq(number),
            Err(_) => Expr::val(1).eq(0),
        },
        Kind::MacOrNull => column.eq(value.to_ascii_lowercase().replace('-', ":")),
        Kind::Uuid | Kind::UuidOrNull => column.eq(kit::ids::parse_uuid(value).unwrap_or_else(|| value.to_owned())),
        _ if attribute.name.ends_with("_at") => column.eq(Timestamp::parse(value).unwrap_or_default().0),
        _ => column.eq(value),
    }
}

/// `tags=a,b` has all, `tags-any` one of them; `not-` turns it round. Tags are kept as a JSON list, and a quoted tag is in it when taking it
/// out changes the text; unlike LIKE this minds case in both databases.
fn tag_filter<R: Resource>(key: &str, values: &[&str]) -> Option<Condition> {
    let tags = values.iter().flat_map(|value| value.split(','));
    let column = || Expr::col((R::TABLE, "tags"));
    let has = |tag: &str| {
        let quoted = Value::from(tag).to_string();
        column().ne(Func::cust("REPLACE").args([column(), Expr::val(quoted), Expr::val("")]))
    };
    let all = tags.clone().fold(Condition::all(), |all, tag| all.add(has(tag)));
    let any = tags.fold(Condition::any(), |any, tag| any.add(has(tag)));
    match key {
        "tags" => Some(all),
        "tags-any" => Some(any),
        "not-tags" => Some(all.not()),
        "not-tags-any" => Some(any.not()),
        _ => None,
    }
}

/// Sorted by text, an absent value is an empty one: so that every row has a place.
fn sort_expr<R: Resource>(key: &str) -> SimpleExpr {
    let attribute = find(R::ATTRIBUTES, key);
    let column = Expr::col((R::TABLE, attribute.and_then(|a| a.column).unwrap_or("id").to_owned()));
    match attribute.map(|a| a.kind) {
        Some(Kind::TextOrNull(_) | Kind::UuidOrNull | Kind::IpOrNull | Kind::CidrOrNull | Kind::OneOfOrNull(_)) => {
            Func::coalesce([column, Expr::val("")]).into()
        }
        _ => column,
    }
}

/// The keys that are asked for, true for ascending. Each comes with its direction.
fn sorting<R: Resource>(query: &Query) -> Result<Vec<(String, bool)>> {
    let (keys, directions): (Vec<&str>, Vec<&str>) = (query.all("sort_key").collect(), query.all("sort_dir").collect());
    if keys.len() != directions.len() {
        return Err(Error::bad_request("The number of sort_keys and sort_dirs must be same"));
    }
    let listed = |wrong: Vec<&str>| format!("['{}']", wrong.join("', '"));
    let wrong: Vec<&str> = keys.iter().copied().filter(|key| find(R::ATTRIBUTES, key).and_then(|a| a.column).is_none()).collect();
    if !wrong.is_empty() {
        return Err(Error::bad_request(format!("{} is invalid attribute for sort_keys", listed(wrong))));
    }
    let wrong: Vec<&str> = directions.iter().copied().filter(|direction| !["asc", "desc"].contains(direction)).collect();
    if !wrong.is_empty() {
        let message = format!("{} is invalid value for sort_dirs, valid value is 'asc' and 'desc'", listed(wrong));
        return Err(Error::bad_request(message));
    }
    Ok(keys.into_iter().zip(directions).map(|(key, direction)| (key.to_owned(), direction == "asc")).collect())
}

struct Page {
    limit: Option<u64>,
    marker: Option<String>,
    reverse: bool,
    /// Keys, true for ascending; as walked, so turned round when the page is.
    order: Vec<(String, bool)>,
}

impl Page {
    fn of<R: Resource>(query: &Query) -> Result<Page> {
        let limit = match query.get("limit") {
            None | Some("") => None,
            Some(text) => Some(text.parse::<u64>().map_err(|_| {
                bad_request("BadRequest", format!("Bad limit request: Limit must be an integer 0 or greater and not '{text}'."))
            })?),
        };
        let reverse = query.get("page_reverse").is_some_and(truthy);
        let mut order = sorting::<R>(query)?;
        order.iter_mut().for_each(|(_, ascending)| *ascending ^= reverse);
        if !order.iter().any(|(key, _)| key == "id") {
            order.push(("id".into(), !reverse));
        }
        let marker = query.get("marker").filter(|m| !m.is_empty()).map(str::to_owned);
        // 0 is without a limit
        let limit = limit.filter(|n| *n > 0).map(|n| Ord::min(n, MOST));
        Ok(Page { limit, marker, reverse, order })
    }

    /// Rows that come after the marker's in this order.
    fn beyond<R: Resource>(&self, marker: &str) -> Condition {
        let of_marker = |key: &str| {
            let select =
                Select::select().expr(sort_expr::<R>(key)).from(R::TABLE).and_where(Expr::col((R::TABLE, "id")).eq(marker)).to_owned();
            SimpleExpr::SubQuery(None, Box::new(select.into()))
        };
        let mut any = Condition::any();
        for (index, (key, ascending)) in self.order.iter().enumerate() {
            let mut all = Condition::all();
            for (earlier, _) in self.order.iter().take(index) {
                all = all.add(sort_expr::<R>(earlier).eq(of_marker(earlier)));
            }
            let column = sort_expr::<R>(key);
            any = any.add(all.add(if *ascending { column.gt(of_marker(key)) } else { column.lt(of_marker(key)) }));
        }
        any
    }

    /// Next and previous, as neutron gives them: only with a limit, and a full page always has a next one.
    fn links<'r>(&self, base: &str, query: &Query, ids: impl Iterator<Item = &'r str>) -> Vec<Value> {
        let ids: Vec<&str> = ids.collect();
        let Some(limit) = self.limit else { return Vec::new() };
        let full = ids.len() as u64 >= limit;
        let rest = query.without(&["marker", "page_reverse"]);
        // an empty page is beyond an end, from which one walks back without a marker
        let at = |id: Option<&&str>| id.map(|id| format!("&marker={id}")).unwrap_or_default();
        let mut links = Vec::new();
        if full || self.reverse {
            links.push(json!({"rel": "next", "href": format!("{base}?{rest}{}", at(ids.last()))}));
        }
        if full || !self.reverse {
            links.push(json!({"rel": "previous", "href": format!("{base}?{rest}{}&page_reverse=True", at(ids.first()))}));
        }
        links
    }
}
