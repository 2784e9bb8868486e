//! `/os-quota-sets` and `/os-quota-class-sets`.

use std::collections::BTreeMap;

use kit::microversion::unexpected;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Reply, Result};
use serde_json::{Map, Value, json};

use super::limits::{self, DEFAULT_CLASS, RESOURCES, Resource};
use super::usage;
use crate::{Nova, validate};

type Limits = BTreeMap<&'static str, i64>;

/// The resources a quota set shows at the caller's version.
fn in_sets(ctx: &Context) -> impl Iterator<Item = &'static Resource> {
    RESOURCES.iter().filter(move |resource| ctx.version <= resource.until)
}

/// Classes show network resources until 2.49, and groups from 2.50.
fn in_classes(ctx: &Context) -> impl Iterator<Item = &'static Resource> {
    in_sets(ctx).filter(move |resource| ctx.version >= resource.class_since)
}

fn view(resources: impl Iterator<Item = &'static Resource>, id: Option<&str>, limits: &Limits) -> Value {
    let mut view: Map<String, Value> = resources.map(|r| (r.name.to_owned(), json!(limits.get(r.name)))).collect();
    if let Some(id) = id {
        view.insert("id".into(), json!(id));
    }
    Value::Object(view)
}

/// `GET /os-quota-sets/{project}`
pub async fn show(app: Nova, ctx: Context, project: Path<String>) -> Result<Reply> {
    ctx.authorize(&Target::project(&project.0))?;
    let limits = limits::all(app.db.read(), &project.0).await?;
    Reply::ok(&json!({"quota_set": view(in_sets(&ctx), Some(&project.0), &limits)}))
}

/// `GET /os-quota-sets/{project}/detail`
pub async fn detail(app: Nova, ctx: Context, project: Path<String>) -> Result<Reply> {
    ctx.authorize(&Target::project(&project.0))?;
    let (limits, used) = (limits::all(app.db.read(), &project.0).await?, usage(app.db.read(), &project.0).await?);
    let in_use = |name: &str| match name {
        "instances" => used.instances,
        "cores" => used.cores,
        "ram" => used.ram,
        _ => 0,
    };
    let row = |r: &Resource| json!({"limit": limits.get(r.name), "in_use": in_use(r.name), "reserved": 0});
    let mut view: Map<String, Value> = in_sets(&ctx).map(|r| (r.name.to_owned(), row(r))).collect();
    view.insert("id".into(), json!(project.0));
    Reply::ok(&json!({"quota_set": view}))
}

/// `GET /os-quota-sets/{project}/defaults`
pub async fn defaults(app: Nova, ctx: Context, project: Path<String>) -> Result<Reply> {
    let limits = limits::all(app.db.read(), DEFAULT_CLASS).await?;
    Reply::ok(&json!({"quota_set": view(in_sets(&ctx), Some(&project.0), &limits)}))
}

/// `PUT /os-quota-sets/{project}`
pub async fn update(app: Nova, ctx: Context, project: Path<String>, body: Json<Value>) -> Result<Reply> {
    let wanted = validate::only(body.0, "quota_set", ctx.strict)?;
    let force = wanted.get("force").map_or(Ok(false), |f| validate::boolean("force", f))?;
    let wanted = read(&ctx, &wanted, in_sets(&ctx).collect(), &["force", "tenant_id"])?;
    if !force {
        let used = usage(app.db.read(), &project.0).await?;
        for (name, used) in [("instances", used.instances), ("cores", used.cores), ("ram", used.ram)] {
            if let Some((_, limit)) = wanted.iter().find(|(n, limit)| *n == name && (0..used).contains(limit)) {
                return Err(Error::bad_request(format!(
                    "Quota limit {limit} for {name} must be greater than or equal to already used and reserved {used}."
                )));
            }
        }
    }
    save(&app, &project.0, wanted).await?;
    let limits = limits::all(app.db.read(), &project.0).await?;
    Reply::ok(&json!({"quota_set": view(in_sets(&ctx), None, &limits)}))
}

/// `DELETE /os-quota-sets/{project}`: the defaults apply again.
pub async fn delete(app: Nova, _: Context, project: Path<String>) -> Result<Reply> {
    app.db.write(move |tx| Box::pin(async move { limits::reset(tx, &project.0).await })).await?;
    Ok(Reply::empty(http::StatusCode::ACCEPTED))
}

/// `GET /os-quota-class-sets/{class}`
pub async fn show_class(app: Nova, ctx: Context, class: Path<String>) -> Result<Reply> {
    let limits = limits::all(app.db.read(), &scope(&class.0)).await?;
    Reply::ok(&json!({"quota_class_set": view(in_classes(&ctx), Some(&class.0), &limits)}))
}

/// `PUT /os-quota-class-sets/{class}`
pub async fn update_class(app: Nova, ctx: Context, class: Path<String>, body: Json<Value>) -> Result<Reply> {
    let wanted = validate::only(body.0, "quota_class_set", ctx.strict)?;
    let wanted = read(&ctx, &wanted, in_classes(&ctx).collect(), &[])?;
    save(&app, &scope(&class.0), wanted).await?;
    let limits = limits::all(app.db.read(), &scope(&class.0)).await?;
    Reply::ok(&json!({"quota_class_set": view(in_classes(&ctx), None, &limits)}))
}

fn scope(class: &str) -> String {
    format!("class:{class}")
}

/// Limits of a body; -1 is without limit.
fn read(ctx: &Context, wanted: &Map<String, Value>, known: Vec<&'static Resource>, beside: &[&str]) -> Result<Vec<(&'static str, i64)>> {
    let is_known = |name: &str| known.iter().any(|resource| resource.name == name);
    let unknown: Vec<&str> = wanted.keys().map(String::as_str).filter(|name| !is_known(name) && !beside.contains(name)).collect();
    if ctx.strict {
        unexpected(&unknown)?;
    }
    let rows = known.into_iter().filter_map(|resource| Some((resource.name, wanted.get(resource.name)?)));
    rows.map(|(name, value)| Ok((name, validate::integer(name, value, -1, i64::from(i32::MAX))?))).collect()
}

async fn save(app: &Nova, scope: &str, wanted: Vec<(&'static str, i64)>) -> Result<()> {
    let scope = scope.to_owned();
    app.db.write(move |tx| Box::pin(async move { limits::set(tx, &scope, &wanted).await })).await
}
