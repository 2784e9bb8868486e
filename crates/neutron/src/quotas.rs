//! Quotas: how many of each resource a project may have.

use kit::policy::Target;
use kit::{Context, Error, Path, Reply, Result};
use sea_orm::ConnectionTrait;
use serde_json::{Map, Value, json};

use crate::attributes::{Input, refused};
use crate::fault::{conflict, enforce};
use crate::values::{Kind, normalize};
use crate::{App, Tx, sql};

/// Resource, its table, its default limit.
const RESOURCES: &[(&str, &str, i64)] = &[
    ("network", "networks", 100),
    ("subnet", "subnets", 500),
    ("port", "ports", 500),
    ("router", "routers", 50),
    ("floatingip", "floatingips", 50),
    ("security_group", "security_groups", 10),
    ("security_group_rule", "security_group_rules", 100),
    ("subnetpool", "subnetpools", -1),
    ("rbac_policy", "rbac_policies", 10),
    ("trunk", "trunks", -1),
];

/// Makes room for `amount` more of a resource; 409 OverQuota when there is none. It costs the same however many there are: `quota_usages` is
/// counted up, and only when it says that there is no room, what was deleted meanwhile is found by counting. Writers of the same project
/// and resource wait for each other at its row, so that together they do not take more than there is.
pub async fn spend(tx: &Tx<'_>, project: &str, resource: &'static str, amount: i64) -> Result<()> {
    let Some((_, table, default)) = RESOURCES.iter().find(|(name, _, _)| *name == resource) else { return Ok(()) };
    // parts of the cloud belong to nobody
    if project.is_empty() || take(tx, project, resource, amount, *default).await? {
        return Ok(());
    }
    let limit = "SELECT quota_limit FROM quotas WHERE project_id = $1 AND resource = $2";
    let limit = match sql::query(tx.db, limit, [project.into(), resource.into()]).await?.first() {
        Some(row) => row.try_get_by_index(0)?,
        None => *default,
    };
    if limit < 0 {
        return Ok(());
    }
    recount(tx, project, resource, table).await?;
    if take(tx, project, resource, amount, *default).await? {
        return Ok(());
    }
    Err(conflict("OverQuota", format!("Quota exceeded for resources: ['{resource}'].")))
}

async fn take(tx: &Tx<'_>, project: &str, resource: &str, amount: i64, default: i64) -> Result<bool> {
    let take = "UPDATE quota_usages SET used = used + $1 WHERE project_id = $2 AND resource = $3 AND used + $1 <= \
                COALESCE((SELECT quota_limit FROM quotas WHERE project_id = $2 AND resource = $3), $4)";
    Ok(sql::execute(tx.db, take, [amount.into(), project.into(), resource.into(), default.into()]).await? > 0)
}

/// The row is locked before anything is counted: what others had under way until then is there.
async fn recount(tx: &Tx<'_>, project: &str, resource: &str, table: &str) -> Result<()> {
    let insert = "INSERT INTO quota_usages (project_id, resource, used) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING";
    let lock = "UPDATE quota_usages SET used = used WHERE project_id = $1 AND resource = $2";
    let count = format!(
        "UPDATE quota_usages SET used = (SELECT COUNT(*) FROM {table} WHERE project_id = $1) WHERE project_id = $1 AND resource = $2"
    );
    for statement in [insert, lock, &count] {
        sql::execute(tx.db, statement, [project.into(), resource.into()]).await?;
    }
    Ok(())
}

/// Something was made that needs no room: the next who does counts it.
pub async fn forget(tx: &Tx<'_>, project: &str, resource: &'static str) -> Result<()> {
    let delete = "DELETE FROM quota_usages WHERE project_id = $1 AND resource = $2";
    sql::execute(tx.db, delete, [project.into(), resource.into()]).await.map(drop)
}

async fn count<C: ConnectionTrait>(db: &C, table: &str, project: &str) -> Result<i64> {
    sql::number(db, &format!("SELECT COUNT(*) FROM {table} WHERE project_id = $1"), [project.into()]).await
}

/// `GET /quotas`: projects with limits of their own.
pub async fn list(app: App, _: Context) -> Result<Reply> {
    let rows = sql::query(app.db().read(), "SELECT project_id, resource, quota_limit FROM quotas ORDER BY project_id", []).await?;
    let mut quotas: Vec<Map<String, Value>> = Vec::new();
    for row in rows {
        let project: String = row.try_get_by_index(0)?;
        if quotas.last().is_none_or(|last| last.get("project_id") != Some(&json!(project))) {
            let mut quota = defaults();
            quota.insert("project_id".into(), json!(project));
            quota.insert("tenant_id".into(), json!(project));
            quotas.push(quota);
        }
        if let Some(last) = quotas.last_mut() {
            last.insert(row.try_get_by_index(1)?, json!(row.try_get_by_index::<i64>(2)?));
        }
    }
    Reply::ok(&json!({"quotas": quotas}))
}

/// `GET /quotas/{project_id}`
pub async fn show(app: App, ctx: Context, project: Path<String>) -> Result<Reply> {
    enforce(&ctx, "get_quota", &Target::project(&project.0))?;
    Reply::ok(&json!({"quota": limits(&app, &project.0).await?}))
}

/// `GET /quotas/{project_id}/default`
pub async fn show_default(_: App, ctx: Context, project: Path<String>) -> Result<Reply> {
    enforce(&ctx, "get_quota", &Target::project(&project.0))?;
    Reply::ok(&json!({"quota": defaults()}))
}

/// `GET /quotas/{project_id}/details`
pub async fn details(app: App, ctx: Context, project: Path<String>) -> Result<Reply> {
    enforce(&ctx, "get_quota", &Target::project(&project.0))?;
    let limits = limits(&app, &project.0).await?;
    let mut details = Map::new();
    for (name, table, _) in RESOURCES {
        let used = count(app.db().read(), table, &project.0).await?;
        details.insert((*name).into(), json!({"limit": limits.get(*name), "used": used, "reserved": 0}));
    }
    Reply::ok(&json!({"quota": details}))
}

/// `GET /quotas/tenant`, `/quotas/project`: whose quota the caller would see.
pub async fn own(_: App, ctx: Context) -> Result<Reply> {
    Reply::ok(&json!({"tenant": {"tenant_id": ctx.project_id()?}, "project": {"project_id": ctx.project_id()?}}))
}

/// `PUT /quotas/{project_id}`
pub async fn update(app: App, ctx: Context, project: Path<String>, input: Input) -> Result<Reply> {
    enforce(&ctx, "update_quota", &Target::project(&project.0))?;
    let mut wanted: Vec<(&'static str, i64)> = Vec::new();
    let mut force = false;
    for (name, value) in input.one("quota")? {
        match (name.as_str(), RESOURCES.iter().find(|(known, _, _)| *known == name)) {
            (_, Some((known, _, _))) => wanted.push((known, limit(known, value)?)),
            ("force", None) => force = crate::values::boolean(&value).unwrap_or(false),
            ("check_limit" | "tenant_id" | "project_id", None) => {}
            (_, None) => return Err(Error::bad_request(format!("Unrecognized attribute(s) '{name}'"))),
        }
    }
    let to = project.0.clone();
    app.write(move |tx| {
        Box::pin(async move {
            for (resource, limit) in wanted {
                let table = RESOURCES.iter().find(|(name, _, _)| *name == resource).map_or("", |(_, table, _)| *table);
                if !force && limit >= 0 && count(tx.db, table, &to).await? > limit {
                    let message = format!("Change would make usage less than 0 for the following resources: ['{resource}'].");
                    return Err(Error::bad_request(message).code("InvalidQuotaValue"));
                }
                let upsert = "INSERT INTO quotas (project_id, resource, quota_limit) VALUES ($1, $2, $3) \
                              ON CONFLICT (project_id, resource) DO UPDATE SET quota_limit = excluded.quota_limit";
                sql::execute(tx.db, upsert, [to.as_str().into(), resource.into(), limit.into()]).await?;
                // without a limit nobody counted
                forget(&tx, &to, resource).await?;
            }
            Ok(())
        })
    })
    .await?;
    Reply::ok(&json!({"quota": limits(&app, &project.0).await?}))
}

/// `DELETE /quotas/{project_id}`: back to the defaults.
pub async fn delete(app: App, ctx: Context, project: Path<String>) -> Result<Reply> {
    enforce(&ctx, "delete_quota", &Target::project(&project.0))?;
    let deleted = app.write({
        let project = project.0.clone();
        move |tx| {
            Box::pin(async move {
                sql::execute(tx.db, "DELETE FROM quota_usages WHERE project_id = $1", [project.as_str().into()]).await?;
                sql::execute(tx.db, "DELETE FROM quotas WHERE project_id = $1", [project.into()]).await
            })
        }
    });
    if deleted.await? == 0 {
        return Err(Error::not_found(format!("Quota for tenant {} could not be found.", project.0)).code("TenantQuotaNotFound"));
    }
    Reply::no_content()
}

fn limit(name: &str, value: Value) -> Result<i64> {
    let kind = Kind::Int(-1, 2_147_483_647);
    let number = normalize(kind, value).map_err(|reason| refused(name, kind, &reason))?;
    number.as_i64().ok_or_else(|| Error::internal(name))
}

fn defaults() -> Map<String, Value> {
    RESOURCES.iter().map(|(name, _, default)| ((*name).to_owned(), json!(default))).collect()
}

async fn limits(app: &App, project: &str) -> Result<Map<String, Value>> {
    let mut limits = defaults();
    for row in sql::query(app.db().read(), "SELECT resource, quota_limit FROM quotas WHERE project_id = $1", [project.into()]).await? {
        limits.insert(row.try_get_by_index(0)?, json!(row.try_get_by_index::<i64>(1)?));
    }
    Ok(limits)
}
