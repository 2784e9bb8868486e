//! `/tasks`: what glance does for somebody in the background. Every import is one; an administrator may also ask for an image to be made
//! from an address.

use std::time::Duration;

use kit::call::Query;
use kit::clock::Timestamp;
use kit::collection::{Page, cut, next_href};
use kit::{Context, Error, Json, Path, Reply, Result, ids};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveEnum, ColumnTrait, Condition, DatabaseTransaction, EntityTrait, IntoActiveModel, Iterable, Order, QueryFilter, QueryOrder,
    QuerySelect,
};
use serde_json::{Value, json};

use crate::entity::TaskStatus;
use crate::entity::task::{Column, Entity, Model};
use crate::images::permitted;
use crate::{Glance, import};

const PAGE: u64 = 25;
const PAGE_MAX: u64 = 1000;
/// How long a task that has ended is kept.
const KEPT: Duration = Duration::from_secs(48 * 3600);
const KINDS: &[&str] = &["import", "api_image_import", "location_import"];

/// A task that is about to begin.
pub fn new(ctx: &Context, kind: &str, image_id: &str, input: &Value) -> Result<Model> {
    let now = Timestamp::now();
    Ok(Model {
        id: ids::uuid(),
        r#type: kind.to_owned(),
        status: TaskStatus::Processing,
        owner: ctx.project_id()?.to_owned(),
        user_id: ctx.user_id()?.to_owned(),
        request_id: ctx.request_id.to_string(),
        image_id: Some(image_id.to_owned()),
        input: input.to_string(),
        result: Some(json!({"image_id": image_id}).to_string()),
        message: String::new(),
        created_at: now,
        updated_at: now,
        expires_at: None,
    })
}

pub async fn insert(tx: &DatabaseTransaction, task: Model) -> Result<()> {
    Entity::insert(task.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

/// Says how a task ended.
pub async fn finish(tx: &DatabaseTransaction, id: &str, status: TaskStatus, message: &str) -> Result<()> {
    let now = Timestamp::now();
    Entity::update_many()
        .col_expr(Column::Status, Expr::val(status.to_value()))
        .col_expr(Column::Message, Expr::val(message))
        .col_expr(Column::UpdatedAt, Expr::val(now.0))
        .col_expr(Column::ExpiresAt, Expr::val(now.plus(KEPT).0))
        .filter(Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Forgets tasks that ended long ago.
pub async fn purge(app: &Glance) -> Result<()> {
    let now = Timestamp::now().0;
    // a cloud at rest writes nothing
    if Entity::find().filter(Column::ExpiresAt.lt(now)).limit(1).one(app.db.read()).await?.is_none() {
        return Ok(());
    }
    let old = Entity::delete_many().filter(Column::ExpiresAt.lt(now));
    app.db.write(move |tx| Box::pin(async move { Ok(old.exec(tx).await.map(drop)?) })).await
}

/// `GET /images/{id}/tasks`
pub async fn of_image(app: Glance, ctx: Context, id: Path<String>) -> Result<Reply> {
    let image = permitted(&app, &ctx, &id.0, "get_image").await?;
    let rows = Entity::find().filter(Column::ImageId.eq(&image.row.id)).order_by_asc(Column::CreatedAt).limit(PAGE_MAX);
    let rows = rows.all(app.db.read()).await?;
    let views = rows.iter().map(|task| {
        let mut view = view(task);
        if let Some(view) = view.as_object_mut() {
            view.retain(|key, _| !matches!(key.as_str(), "self" | "schema"));
            view.insert("deleted".into(), json!(false));
            view.insert("deleted_at".into(), Value::Null);
            view.insert("image_id".into(), json!(task.image_id));
            view.insert("request_id".into(), json!(task.request_id));
            view.insert("user_id".into(), json!(task.user_id));
        }
        view
    });
    Reply::ok(&json!({"tasks": views.collect::<Vec<_>>()}))
}

pub async fn list(app: Glance, _: Context, query: Query) -> Result<Reply> {
    let page = Page::parse(&query, PAGE, PAGE_MAX)?;
    let (column, ascending) = sort(&page)?;
    let mut condition = filters(&query)?;
    if let Some(marker) = &page.marker {
        let row = Entity::find_by_id(marker.clone()).one(app.db.read()).await?;
        let row = row.ok_or_else(|| Error::bad_request(format!("Could not find task {marker}")))?;
        condition = condition.add(behind(column, ascending, &row));
    }
    let order = if ascending { Order::Asc } else { Order::Desc };
    let select = Entity::find().filter(condition).order_by(column, order.clone()).order_by(Column::Id, order).limit(page.limit + 1);
    let mut rows = select.all(app.db.read()).await?;
    let more = cut(&mut rows, page.limit);
    let views: Vec<Value> = rows.iter().map(summary).collect();
    let rest = query.without(&["marker"]);
    let first = if rest.is_empty() { "/v2/tasks".to_owned() } else { format!("/v2/tasks?{rest}") };
    let mut body = json!({"tasks": views, "first": first, "schema": "/v2/schemas/tasks"});
    if let (true, Some(last), Some(body)) = (more, rows.last(), body.as_object_mut()) {
        body.insert("next".into(), next_href("/v2/tasks", &query, &last.id).into());
    }
    Reply::ok(&body)
}

fn sort(page: &Page) -> Result<(Column, bool)> {
    let (key, ascending) = page.sort.first().map_or(("created_at", false), |(key, ascending)| (key.as_str(), *ascending));
    let column = match key {
        "created_at" => Column::CreatedAt,
        "updated_at" => Column::UpdatedAt,
        "type" => Column::Type,
        "status" => Column::Status,
        "id" => Column::Id,
        _ => return Err(Error::bad_request("Sort key supplied was not valid.")),
    };
    Ok((column, ascending))
}

fn filters(query: &Query) -> Result<Condition> {
    let mut condition = Condition::all();
    if let Some(kind) = query.get("type") {
        if !KINDS.contains(&kind) {
            return Err(Error::bad_request(format!("Invalid type value: {kind}")));
        }
        condition = condition.add(Column::Type.eq(kind));
    }
    if let Some(text) = query.get("status") {
        let unknown = || Error::bad_request(format!("Invalid status value: {text}"));
        condition = condition.add(Column::Status.eq(TaskStatus::iter().find(|known| known.as_str() == text).ok_or_else(unknown)?));
    }
    Ok(condition)
}

/// The tasks that come after one.
fn behind(column: Column, ascending: bool, row: &Model) -> Condition {
    let place = match column {
        Column::Type => Expr::val(row.r#type.clone()),
        Column::Status => Expr::val(row.status.as_str()),
        Column::UpdatedAt => Expr::val(row.updated_at.0),
        Column::CreatedAt => Expr::val(row.created_at.0),
        _ => Expr::val(row.id.clone()),
    };
    let beyond = |column: Column, place: Expr| if ascending { Expr::col(column).gt(place) } else { Expr::col(column).lt(place) };
    let equal = Condition::all().add(Expr::col(column).eq(place.clone())).add(beyond(Column::Id, Expr::val(row.id.clone())));
    Condition::any().add(beyond(column, place)).add(equal)
}

pub async fn show(app: Glance, _: Context, id: Path<String>) -> Result<Reply> {
    let row = Entity::find_by_id(id.0.clone()).one(app.db.read()).await?;
    let row = row.ok_or_else(|| Error::not_found(format!("Could not find task {}", id.0)))?;
    Reply::ok(&view(&row))
}

/// `POST /tasks`: `{"type": "import", "input": {"import_from", "import_from_format", "image_properties"}}`
pub async fn create(app: Glance, ctx: Context, body: Json<Value>) -> Result<Reply> {
    let needed = |key: &str| body.0.get(key).ok_or_else(|| Error::bad_request(format!("Task '{key}' is required")));
    let (kind, input) = (needed("type")?, needed("input")?);
    if kind != "import" {
        let why = format!("{kind} is not one of ['import']");
        return Err(Error::bad_request(format!("Provided object does not match schema 'task': {why}")));
    }
    if !input.is_object() {
        return Err(Error::bad_request(format!("Provided object does not match schema 'task': {input} is not of type 'null', 'object'")));
    }
    let task = import::from_task(&app, &ctx, input).await?;
    let view = view(&task);
    let location = format!("{}/v2/tasks/{}", ctx.base_url, task.id);
    Ok(Reply::created(&view)?.header("location", &location))
}

pub fn view(task: &Model) -> Value {
    let mut view = summary(task);
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    if let Some(view) = view.as_object_mut() {
        view.insert("input".into(), parsed(&task.input));
        let result = task.result.as_deref().filter(|_| task.status == TaskStatus::Success);
        view.insert("result".into(), result.map(parsed).unwrap_or_default());
        view.insert("message".into(), json!(task.message));
    }
    view
}

/// A task in a list of them.
fn summary(task: &Model) -> Value {
    json!({
        "id": task.id,
        "type": task.r#type,
        "status": task.status.as_str(),
        "owner": task.owner,
        "created_at": task.created_at.to_seconds_z(),
        "updated_at": task.updated_at.to_seconds_z(),
        "expires_at": task.expires_at.map(|at| at.to_seconds_z()),
        "self": format!("/v2/tasks/{}", task.id),
        "schema": "/v2/schemas/task",
    })
}
