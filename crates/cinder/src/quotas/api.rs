//! `/os-quota-sets`, `/os-quota-class-sets` and `/limits`.

use std::collections::{BTreeSet, HashMap};

use http::StatusCode;
use kit::policy::Target;
use kit::{Context, Error, Json, Path, Query, Reply, Result};
use serde_json::{Map, Value, json};

use super::{DEFAULTS, store};
use crate::microversions::LIMITS_OF_PROJECT;
use crate::{Cinder, types};

pub async fn show(app: Cinder, ctx: Context, Path(project): Path<String>, query: Query) -> Result<Reply> {
    ctx.authorize(&Target::project(&project))?;
    let db = app.db().read();
    let (limits, used) = (store::limits_of(db, &project).await?, store::in_use(db, &project).await?);
    let usage = query.flag("usage");
    let entry = |name: &str| {
        let limit = limits.get(name).copied().unwrap_or(-1);
        let in_use = used.get(name).copied().unwrap_or_default();
        if usage { json!({"limit": limit, "in_use": in_use, "reserved": 0, "allocated": 0}) } else { json!(limit) }
    };
    answer(&app, Some(&project), entry).await
}

pub async fn defaults(app: Cinder, ctx: Context, Path(project): Path<String>) -> Result<Reply> {
    ctx.authorize(&Target::project(&project))?;
    let limits = store::defaults(app.db().read()).await?;
    answer(&app, Some(&project), |name| json!(limits.get(name).copied().unwrap_or(-1))).await
}

pub async fn update(app: Cinder, ctx: Context, Path(project): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    ctx.authorize(&Target::project(&project))?;
    let wanted = wanted(&app, &body, "quota_set").await?;
    let used = store::in_use(app.db().read(), &project).await?;
    if let Some((name, limit)) = wanted.iter().find(|(name, limit)| **limit >= 0 && used.get(*name).is_some_and(|used| used > limit)) {
        let usage = used.get(name).copied().unwrap_or_default();
        return Err(Error::bad_request(format!(
            "Quota {name} limit must be equal or greater than existing resources. Current usage is {usage} and the requested limit is {limit}."
        )));
    }
    write(&app, project.clone(), wanted).await?;
    let limits = store::limits_of(app.db().read(), &project).await?;
    answer(&app, None, |name| json!(limits.get(name).copied().unwrap_or(-1))).await
}

pub async fn delete(app: Cinder, ctx: Context, Path(project): Path<String>) -> Result<Reply> {
    ctx.authorize(&Target::project(&project))?;
    app.db().write(move |tx| Box::pin(async move { store::forget_limits(tx, &project).await })).await?;
    Ok(Reply::empty(StatusCode::OK))
}

pub async fn show_class(app: Cinder, _: Context, Path(name): Path<String>) -> Result<Reply> {
    let mut limits = store::defaults(app.db().read()).await?;
    limits.extend(store::set_by(app.db().read(), &store::class(&name)).await?);
    class_answer(&app, Some(&name), &limits).await
}

pub async fn update_class(app: Cinder, _: Context, Path(name): Path<String>, Json(body): Json<Value>) -> Result<Reply> {
    let wanted = wanted(&app, &body, "quota_class_set").await?;
    write(&app, store::class(&name), wanted).await?;
    let mut limits = store::defaults(app.db().read()).await?;
    limits.extend(store::set_by(app.db().read(), &store::class(&name)).await?);
    class_answer(&app, None, &limits).await
}

pub async fn limits(app: Cinder, ctx: Context, query: Query) -> Result<Reply> {
    let asked = query.get("project_id").or(query.get("tenant_id")).filter(|_| ctx.speaks(LIMITS_OF_PROJECT) && ctx.is_admin());
    let project = match asked {
        Some(project) => project,
        None => ctx.project_id()?,
    };
    let (limits, used) = (store::limits_of(app.db().read(), project).await?, store::in_use(app.db().read(), project).await?);
    let limit = |name: &str| limits.get(name).copied().unwrap_or(-1);
    let used = |name: &str| used.get(name).copied().unwrap_or_default();
    Reply::ok(&json!({"limits": {"rate": [], "absolute": {
        "maxTotalVolumes": limit("volumes"), "maxTotalSnapshots": limit("snapshots"), "maxTotalVolumeGigabytes": limit("gigabytes"),
        "maxTotalBackups": limit("backups"), "maxTotalBackupGigabytes": limit("backup_gigabytes"),
        "totalVolumesUsed": used("volumes"), "totalSnapshotsUsed": used("snapshots"), "totalGigabytesUsed": used("gigabytes"),
        "totalBackupsUsed": used("backups"), "totalBackupGigabytesUsed": used("backup_gigabytes"),
    }}}))
}

/// All resources there are: the fixed ones and three for each type.
async fn resources(app: &Cinder) -> Result<Vec<String>> {
    let types: BTreeSet<String> = types::store::names(app.db().read()).await?.into_values().collect();
    let fixed = DEFAULTS.iter().map(|(name, _)| (*name).to_owned());
    let typed = types.iter().flat_map(|name| ["volumes", "snapshots", "gigabytes"].map(|what| format!("{what}_{name}")));
    Ok(fixed.chain(typed).collect())
}

async fn answer(app: &Cinder, id: Option<&str>, entry: impl Fn(&str) -> Value) -> Result<Reply> {
    let mut set: Map<String, Value> = resources(app).await?.into_iter().map(|name| (name.clone(), entry(&name))).collect();
    if let Some(id) = id {
        set.insert("id".into(), json!(id));
    }
    Reply::ok(&json!({"quota_set": set}))
}

async fn class_answer(app: &Cinder, id: Option<&str>, limits: &HashMap<String, i64>) -> Result<Reply> {
    let limit = |name: &str| json!(limits.get(name).copied().unwrap_or(-1));
    let mut set: Map<String, Value> = resources(app).await?.into_iter().map(|name| (name.clone(), limit(&name))).collect();
    if let Some(id) = id {
        set.insert("id".into(), json!(id));
    }
    Reply::ok(&json!({"quota_class_set": set}))
}

/// The limits a body asks for; all of them are known resources and whole numbers from -1.
async fn wanted(app: &Cinder, body: &Value, key: &str) -> Result<HashMap<String, i64>> {
    let set = body[key].as_object().ok_or_else(|| Error::bad_request(format!("Missing required element '{key}' in request body.")))?;
    let known = resources(app).await?;
    let mut wanted = HashMap::new();
    for (name, value) in set.iter().filter(|(name, _)| !matches!(name.as_str(), "tenant_id" | "id" | "force" | "class_name")) {
        if !known.contains(name) {
            return Err(Error::bad_request(format!("Invalid input received: Bad key(s) in quota set: {name}")));
        }
        let limit = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).filter(|limit| *limit >= -1);
        let limit = limit.ok_or_else(|| Error::bad_request(format!("Invalid input for field/attribute {name}. Value: {value}.")))?;
        wanted.insert(name.clone(), limit);
    }
    Ok(wanted)
}

async fn write(app: &Cinder, owner: String, limits: HashMap<String, i64>) -> Result<()> {
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                for (resource, limit) in &limits {
                    store::set_limit(tx, &owner, resource, *limit).await?;
                }
                Ok(())
            })
        })
        .await
}
