//! `/metadefs/namespaces`

use std::collections::HashMap;

use kit::clock::Timestamp;
use kit::collection::{Page, cut, next_href};
use kit::{Context, Error, Json, Path, Query, Reply, Result};
use sea_orm::sea_query::{Expr, ExprTrait, Query as Sql};
use sea_orm::{ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IntoActiveModel, Order, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Map, Value, json};

use super::{defaults, fields, objects, permitted, properties, resource_types, seen, store, unprotected};
use crate::Glance;
use crate::entity::metadef::namespace::{Column, Entity, Model};
use crate::entity::metadef::{ItemKind, association};

const PAGE: u64 = 25;
const PAGE_MAX: u64 = 1000;

pub async fn list(app: Glance, ctx: Context, query: Query) -> Result<Reply> {
    let page = Page::parse(&query, PAGE, PAGE_MAX)?;
    let (column, ascending) = sort(&page)?;
    let mut condition = visible(&ctx, &query)?;
    if let Some(types) = query.get("resource_types").or(query.get("resource_type")) {
        let mut select = Sql::select().column(association::Column::Namespace).from(association::Entity).to_owned();
        select.and_where(association::Column::ResourceType.is_in(types.split(',')));
        condition = condition.add(Column::Namespace.in_subquery(select));
    }
    if let Some(marker) = &page.marker {
        let row = seen(&app, &ctx, marker).await?;
        condition = condition.add(behind(column, ascending, &row));
    }
    let order = if ascending { Order::Asc } else { Order::Desc };
    let select = Entity::find().filter(condition).order_by(column, order.clone()).order_by(Column::Namespace, order).limit(page.limit + 1);
    let mut rows = select.all(app.db.read()).await?;
    let more = cut(&mut rows, page.limit);
    let names: Vec<&str> = rows.iter().map(|row| row.namespace.as_str()).collect();
    let mut applies: HashMap<String, Vec<Value>> = HashMap::new();
    for row in store::associations(app.db.read(), &names).await? {
        applies.entry(row.namespace.clone()).or_default().push(resource_types::view(&row));
    }
    let views: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut view = view(row);
            if let Some(types) = applies.remove(&row.namespace) {
                view.insert("resource_type_associations".into(), types.into());
            }
            Value::Object(view)
        })
        .collect();
    let rest = query.without(&["marker"]);
    let base = "/v2/metadefs/namespaces";
    let first = if rest.is_empty() { base.to_owned() } else { format!("{base}?{rest}") };
    let mut body = json!({"namespaces": views, "first": first, "schema": "/v2/schemas/metadefs/namespaces"});
    if let (true, Some(last), Some(body)) = (more, rows.last(), body.as_object_mut()) {
        body.insert("next".into(), next_href(base, &query, &last.namespace).into());
    }
    Reply::ok(&body)
}

fn sort(page: &Page) -> Result<(Column, bool)> {
    let (key, ascending) = page.sort.first().map_or(("created_at", false), |(key, ascending)| (key.as_str(), *ascending));
    match key {
        "created_at" => Ok((Column::CreatedAt, ascending)),
        "updated_at" => Ok((Column::UpdatedAt, ascending)),
        "namespace" => Ok((Column::Namespace, ascending)),
        other => Err(Error::bad_request(format!("Invalid sort key: {other}"))),
    }
}

fn visible(ctx: &Context, query: &Query) -> Result<Condition> {
    let mut condition = Condition::all();
    if !ctx.is_admin() {
        let own = Column::Owner.eq(ctx.project_id().unwrap_or_default());
        condition = condition.add(Condition::any().add(own).add(Column::Visibility.eq("public")));
    }
    match query.get("visibility") {
        None => Ok(condition),
        Some(asked @ ("public" | "private")) => Ok(condition.add(Column::Visibility.eq(asked))),
        Some(other) => Err(Error::bad_request(format!("Invalid visibility value: {other}"))),
    }
}

/// The namespaces that come after one.
fn behind(column: Column, ascending: bool, row: &Model) -> Condition {
    let place = match column {
        Column::UpdatedAt => Expr::val(row.updated_at.0),
        Column::CreatedAt => Expr::val(row.created_at.0),
        _ => Expr::val(row.namespace.clone()),
    };
    let beyond = |column: Column, place: Expr| if ascending { Expr::col(column).gt(place) } else { Expr::col(column).lt(place) };
    let same = Condition::all().add(Expr::col(column).eq(place.clone()));
    let same = same.add(beyond(Column::Namespace, Expr::val(row.namespace.clone())));
    Condition::any().add(beyond(column, place)).add(same)
}

/// What may be said of a namespace.
#[rustfmt::skip]
const KEYS: &[&str] = &[
    "namespace", "display_name", "description", "visibility", "protected", "owner", "resource_type_associations", "properties", "objects",
    "tags", "created_at", "updated_at", "schema", "self",
];

/// `POST /metadefs/namespaces`, with what is in it if the client says so at once.
pub async fn create(app: Glance, ctx: Context, body: Json<Value>) -> Result<Reply> {
    let body = fields::object(body.0)?;
    fields::known(&body, KEYS)?;
    let row = read(&body, ctx.project_id()?)?;
    let parts = defaults::parts(&body, &row.namespace)?;
    let (made, types) = (row.clone(), parts.associations.clone());
    app.db.write(move |tx| Box::pin(async move { parts.insert(tx, made).await })).await?;
    let location = format!("{}/v2/metadefs/namespaces/{}", ctx.base_url, kit::call::percent_encode(&row.namespace));
    let mut view = view(&row);
    if !types.is_empty() {
        view.insert("resource_type_associations".into(), types.iter().map(resource_types::view).collect::<Vec<_>>().into());
    }
    // what was defined with it, as it was said
    view.extend(["objects", "properties", "tags"].into_iter().filter_map(|part| Some((part.to_owned(), body.get(part)?.clone()))));
    Ok(Reply::created(&view)?.header("location", &location))
}

/// A namespace as a client describes it.
pub fn read(body: &Map<String, Value>, owner: &str) -> Result<Model> {
    let now = Timestamp::now();
    let visibility = fields::short(body, "visibility")?.unwrap_or_else(|| "private".into());
    if !matches!(visibility.as_str(), "public" | "private") {
        return Err(fields::invalid("visibility", &format!("'{visibility}' is not one of ['public', 'private']")));
    }
    Ok(Model {
        namespace: fields::name(body, "namespace")?,
        display_name: fields::short(body, "display_name")?,
        description: fields::text(body, "description")?,
        visibility,
        protected: fields::flag(body, "protected")?.unwrap_or(false),
        owner: fields::text(body, "owner")?.unwrap_or_else(|| owner.to_owned()),
        created_at: now,
        updated_at: now,
    })
}

/// A namespace with all that is in it.
pub async fn show(app: Glance, ctx: Context, name: Path<String>, query: Query) -> Result<Reply> {
    let row = seen(&app, &ctx, &name.0).await?;
    let conn = app.db.read();
    let applies = store::associations(conn, &[&row.namespace]).await?;
    // a type of resources may want the names of properties with its prefix
    let prefix = query.get("resource_type").and_then(|kind| applies.iter().find(|row| row.resource_type == kind)?.prefix.clone());
    let prefix = prefix.unwrap_or_default();
    let mut view = view(&row);
    if !applies.is_empty() {
        view.insert("resource_type_associations".into(), applies.iter().map(resource_types::view).collect::<Vec<_>>().into());
    }
    let all = store::items(conn, &row.namespace, ItemKind::Object).await?;
    if !all.is_empty() {
        view.insert("objects".into(), all.iter().map(|item| objects::view(&row.namespace, item, &prefix)).collect::<Vec<_>>().into());
    }
    let all = store::items(conn, &row.namespace, ItemKind::Property).await?;
    if !all.is_empty() {
        let all = all.into_iter().map(|item| (format!("{prefix}{}", item.name), properties::view(item)));
        view.insert("properties".into(), Value::Object(all.collect()));
    }
    let all = store::items(conn, &row.namespace, ItemKind::Tag).await?;
    if !all.is_empty() {
        view.insert("tags".into(), all.iter().map(|item| json!({"name": item.name})).collect::<Vec<_>>().into());
    }
    Reply::ok(&view)
}

pub async fn update(app: Glance, ctx: Context, name: Path<String>, body: Json<Value>) -> Result<Reply> {
    let before = permitted(&app, &ctx, &name.0, "modify_metadef_namespace").await?;
    let body = fields::object(body.0)?;
    let mut row = read(&body, &before.owner)?;
    row.created_at = before.created_at;
    let change = row.clone().into_active_model().reset_all();
    let name = row.namespace.clone();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let done = Entity::update_many().set(change).filter(Column::Namespace.eq(&before.namespace)).exec(tx).await;
                match done {
                    Ok(_) => Ok(()),
                    Err(error) if kit::db::is_duplicate(&error) => {
                        Err(Error::conflict(format!("The metadata definition namespace={name} already exists.")))
                    }
                    Err(error) => Err(error.into()),
                }
            })
        })
        .await?;
    Reply::ok(&view(&row))
}

pub async fn delete(app: Glance, ctx: Context, name: Path<String>) -> Result<Reply> {
    let row = permitted(&app, &ctx, &name.0, "delete_metadef_namespace").await?;
    unprotected(&row, "namespace")?;
    app.db.write(move |tx| Box::pin(async move { Ok(Entity::delete_by_id(row.namespace).exec(tx).await.map(drop)?) })).await?;
    Reply::no_content()
}

fn view(row: &Model) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("namespace".into(), json!(row.namespace));
    for (key, value) in [("display_name", &row.display_name), ("description", &row.description)] {
        if let Some(value) = value {
            view.insert(key.into(), json!(value));
        }
    }
    view.insert("visibility".into(), json!(row.visibility));
    view.insert("protected".into(), json!(row.protected));
    view.insert("owner".into(), json!(row.owner));
    view.insert("created_at".into(), json!(row.created_at.to_seconds_z()));
    view.insert("updated_at".into(), json!(row.updated_at.to_seconds_z()));
    view.insert("self".into(), json!(format!("/v2/metadefs/namespaces/{}", row.namespace)));
    view.insert("schema".into(), json!("/v2/schemas/metadefs/namespace"));
    view
}
