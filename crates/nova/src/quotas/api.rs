//! `/os-quota-sets` and `/os-quota-class-sets`.

use std::collections::BTreeMap;

use kit::microversion::only;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Query, Reply, Result};
use serde_json::{Map, Value, json};

use super::limits::{self, DEFAULT_CLASS, RESOURCES, Resource};
use super::{check_project, usage};
use crate::microversions::STRICT;
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

/// Whose quotas are meant: a project's, or those of one user in it.
struct Whose {
    project: String,
    user: Option<String>,
}

impl Whose {
    /// Refuses a project that keystone does not know.
    async fn read(app: &Nova, ctx: &Context, project: Path<String>, query: &Query) -> Result<Whose> {
        validate::query_keys(ctx, query, STRICT, &["user_id"])?;
        check_project(app, ctx, &project.0).await?;
        let user = query.get("user_id").filter(|user| !user.is_empty()).map(str::to_owned);
        Ok(Whose { project: project.0, user })
    }

    async fn limits(&self, app: &Nova) -> Result<Limits> {
        match &self.user {
            Some(user) => limits::of_user(app.db.read(), &self.project, user).await,
            None => limits::all(app.db.read(), &self.project).await,
        }
    }

    fn scope(&self) -> String {
        self.user.as_ref().map_or_else(|| self.project.clone(), |user| limits::user_scope(&self.project, user))
    }
}

/// `GET /os-quota-sets/{project}`
pub async fn show(app: Nova, ctx: Context, project: Path<String>, query: Query) -> Result<Reply> {
    ctx.authorize(&Target::project(&project.0))?;
    let whose = Whose::read(&app, &ctx, project, &query).await?;
    let limits = whose.limits(&app).await?;
    Reply::ok(&json!({"quota_set": view(in_sets(&ctx), Some(&whose.project), &limits)}))
}

/// `GET /os-quota-sets/{project}/detail`
pub async fn detail(app: Nova, ctx: Context, project: Path<String>, query: Query) -> Result<Reply> {
    ctx.authorize(&Target::project(&project.0))?;
    let whose = Whose::read(&app, &ctx, project, &query).await?;
    let limits = whose.limits(&app).await?;
    let used = match &whose.user {
        Some(user) => super::usage_of_user(app.db.read(), &whose.project, user).await?,
        None => usage(app.db.read(), &whose.project).await?,
    };
    let groups = crate::server_groups::count(&app, &whose.project).await?;
    let in_use = |name: &str| match name {
        "instances" => used.instances,
        "cores" => used.cores,
        "ram" => used.ram,
        "server_groups" => i64::try_from(groups).unwrap_or(i64::MAX),
        _ => 0,
    };
    let row = |r: &Resource| json!({"limit": limits.get(r.name), "in_use": in_use(r.name), "reserved": 0});
    let mut view: Map<String, Value> = in_sets(&ctx).map(|r| (r.name.to_owned(), row(r))).collect();
    view.insert("id".into(), json!(whose.project));
    Reply::ok(&json!({"quota_set": view}))
}

/// `GET /os-quota-sets/{project}/defaults`
pub async fn defaults(app: Nova, ctx: Context, project: Path<String>) -> Result<Reply> {
    check_project(&app, &ctx, &project.0).await?;
    let limits = limits::all(app.db.read(), DEFAULT_CLASS).await?;
    Reply::ok(&json!({"quota_set": view(in_sets(&ctx), Some(&project.0), &limits)}))
}

/// `PUT /os-quota-sets/{project}`
pub async fn update(app: Nova, ctx: Context, project: Path<String>, query: Query, body: Json<Value>) -> Result<Reply> {
    let asked = validate::only(body.0, "quota_set", ctx.strict)?;
    let force = asked.get("force").map_or(Ok(false), |f| validate::boolean("force", f))?;
    let wanted = read(&ctx, "quota_set", &asked, in_sets(&ctx).collect(), &["force", "tenant_id"])?;
    let whose = Whose::read(&app, &ctx, project, &query).await?;
    if !force {
        check_used(&app, &whose, &wanted).await?;
    }
    if whose.user.is_some() {
        within_project(&limits::all(app.db.read(), &whose.project).await?, &wanted)?;
    }
    save(&app, &whose.scope(), wanted).await?;
    Reply::ok(&json!({"quota_set": view(in_sets(&ctx), None, &whose.limits(&app).await?)}))
}

/// A limit below what is used already has to be forced.
async fn check_used(app: &Nova, whose: &Whose, wanted: &[(&'static str, i64)]) -> Result<()> {
    let used = usage(app.db.read(), &whose.project).await?;
    for (name, used) in [("instances", used.instances), ("cores", used.cores), ("ram", used.ram)] {
        if let Some((_, limit)) = wanted.iter().find(|(n, limit)| *n == name && (0..used).contains(limit)) {
            return Err(Error::bad_request(format!(
                "Quota limit {limit} for {name} must be greater than or equal to already used and reserved {used}."
            )));
        }
    }
    Ok(())
}

/// A user cannot have more than the project.
fn within_project(project: &Limits, wanted: &[(&'static str, i64)]) -> Result<()> {
    for (name, limit) in wanted {
        let most = project.get(name).copied().unwrap_or(-1);
        if most >= 0 && (*limit < 0 || *limit > most) {
            return Err(Error::bad_request(format!("Quota limit {limit} for {name} must be less than or equal to {most}.")));
        }
    }
    Ok(())
}

/// `DELETE /os-quota-sets/{project}`: the defaults apply again.
pub async fn delete(app: Nova, ctx: Context, project: Path<String>, query: Query) -> Result<Reply> {
    validate::query_keys(&ctx, &query, STRICT, &["user_id"])?;
    let user = query.get("user_id").filter(|user| !user.is_empty()).map(str::to_owned);
    app.db
        .write(move |tx| {
            Box::pin(async move {
                match user {
                    Some(user) => limits::reset(tx, &limits::user_scope(&project.0, &user)).await,
                    None => limits::reset_project(tx, &project.0).await,
                }
            })
        })
        .await?;
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
    let wanted = read(&ctx, "quota_class_set", &wanted, in_classes(&ctx).collect(), &[])?;
    save(&app, &scope(&class.0), wanted).await?;
    let limits = limits::all(app.db.read(), &scope(&class.0)).await?;
    Reply::ok(&json!({"quota_class_set": view(in_classes(&ctx), None, &limits)}))
}

fn scope(class: &str) -> String {
    format!("class:{class}")
}

/// Limits of a body; -1 is without limit.
fn read(
    ctx: &Context,
    path: &str,
    wanted: &Map<String, Value>,
    known: Vec<&'static Resource>,
    beside: &[&str],
) -> Result<Vec<(&'static str, i64)>> {
    let is_known = |name: &str| known.iter().any(|resource| resource.name == name);
    if ctx.strict {
        only(path, wanted, |name| is_known(name) || beside.contains(&name))?;
    }
    let rows = known.into_iter().filter_map(|resource| Some((resource.name, wanted.get(resource.name)?)));
    rows.map(|(name, value)| Ok((name, validate::integer(name, value, -1, i64::from(i32::MAX))?))).collect()
}

async fn save(app: &Nova, scope: &str, wanted: Vec<(&'static str, i64)>) -> Result<()> {
    let scope = scope.to_owned();
    app.db.write(move |tx| Box::pin(async move { limits::set(tx, &scope, &wanted).await })).await
}
