//! Quotas: how much a project may have ([`limits`]) and how much it uses, counted in the transactions that change it.

mod api;
pub mod limits;

use kit::{Context, Error, Result, Routes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ConnectionTrait, FromQueryResult, QuerySelect, Set, Statement};

pub use self::limits::Limits;
use crate::Nova;
use crate::servers::instance;

/// A row of `quota_usages`: what a project's servers take.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "quota_usages")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_id: String,
    pub instances: i64,
    pub cores: i64,
    pub ram: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What one server takes.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    pub cores: i64,
    /// MB
    pub ram: i64,
}

pub fn routes() -> Routes<Nova> {
    Routes::new()
        .get("/os-quota-sets/{project_id}", "os_compute_api:os-quota-sets:show", api::show)
        .deferred()
        .put("/os-quota-sets/{project_id}", "os_compute_api:os-quota-sets:update", api::update)
        .delete("/os-quota-sets/{project_id}", "os_compute_api:os-quota-sets:delete", api::delete)
        .get("/os-quota-sets/{project_id}/detail", "os_compute_api:os-quota-sets:detail", api::detail)
        .deferred()
        .get("/os-quota-sets/{project_id}/defaults", "os_compute_api:os-quota-sets:defaults", api::defaults)
        .get("/os-quota-class-sets/{class}", "os_compute_api:os-quota-class-sets:show", api::show_class)
        .put("/os-quota-class-sets/{class}", "os_compute_api:os-quota-class-sets:update", api::update_class)
}

/// What a project uses.
pub async fn usage(db: &impl ConnectionTrait, project_id: &str) -> Result<Model> {
    let none = Model { project_id: project_id.to_owned(), instances: 0, cores: 0, ram: 0 };
    Ok(Entity::find_by_id(project_id).one(db).await?.unwrap_or(none))
}

/// What one user's servers take, counted anew.
pub async fn usage_of_user(db: &impl ConnectionTrait, project_id: &str, user_id: &str) -> Result<Model> {
    let sizes: Vec<(i64, i64)> = instance::Entity::find()
        .select_only()
        .columns([instance::Column::Vcpus, instance::Column::RamMb])
        .filter(instance::Column::ProjectId.eq(project_id))
        .filter(instance::Column::UserId.eq(user_id))
        .filter(instance::Column::Deleted.eq(false))
        .into_tuple()
        .all(db)
        .await?;
    Ok(Model {
        project_id: project_id.to_owned(),
        instances: i64::try_from(sizes.len()).unwrap_or(i64::MAX),
        cores: sizes.iter().map(|(cores, _)| cores).sum(),
        ram: sizes.iter().map(|(_, ram)| ram).sum(),
    })
}

/// 403 when a user who has limits of their own would pass them with `servers` more. As part of the transaction that reserves them, which
/// the project's row makes wait for others.
pub async fn check_user(
    tx: &impl ConnectionTrait,
    limits: &Limits,
    project_id: &str,
    user_id: &str,
    need: Need,
    servers: i64,
) -> Result<()> {
    let Some(own) = &limits.user else { return Ok(()) };
    let used = usage_of_user(tx, project_id, user_id).await?;
    let limit = |name: &str| own.get(name).copied().unwrap_or(-1);
    let row = |name: &str, each: i64, used: i64| (name.to_owned(), each * servers, used, limit(name));
    let rows = [row("cores", need.cores, used.cores), row("instances", 1, used.instances), row("ram", need.ram, used.ram)];
    if rows.iter().any(|(_, wanted, used, limit)| *limit >= 0 && used + wanted > *limit) { Err(exceeded(&rows)) } else { Ok(()) }
}

/// 400 when keystone says there is no such project. Who may not ask keystone is believed.
pub async fn check_project(app: &Nova, ctx: &Context, project_id: &str) -> Result<()> {
    if ctx.project_id().is_ok_and(|own| own == project_id) {
        return Ok(());
    }
    let path = format!("/v3/projects/{}", kit::call::percent_encode(project_id));
    match app.cloud.identity.0.get(&ctx.auth(), &path).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Err(Error::bad_request(format!("Project ID {project_id} is not a valid project."))),
        Err(error) if error.status == 403 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes as many servers as fit, between `least` and `most`, and answers how many; 403 in nova's words when not even `least` fit. As part of
/// the transaction that makes them, so that requests at once cannot pass the quota together.
pub async fn reserve(tx: &impl ConnectionTrait, limits: &Limits, project_id: &str, need: Need, least: i64, most: i64) -> Result<i64> {
    // first take them all: the row is this transaction's from here on, so what it says cannot change
    let used = add(tx, project_id, need, most).await?;
    let resources = [("cores", need.cores, used.cores), ("instances", 1, used.instances), ("ram", need.ram, used.ram)];
    let limit = |name: &str| limits.project.get(name).copied().unwrap_or(-1);
    let room = resources
        .iter()
        .filter(|(name, each, _)| limit(name) >= 0 && *each > 0)
        .map(|(name, each, used)| (limit(name) - (used - each * most)) / each);
    let count = room.min().unwrap_or(most).clamp(0, most);
    if count < least {
        let before = |(name, each, used): &(&str, i64, i64)| ((*name).to_owned(), each * least, used - each * most, limit(name));
        return Err(exceeded(&resources.iter().map(before).collect::<Vec<_>>()));
    }
    if count < most {
        add(tx, project_id, need, count - most).await?;
    }
    Ok(count)
}

/// Metadata and injected files of a new server: so many at most, and files so long.
pub fn check_items(limits: &Limits, metadata: usize, files: &[(String, String)]) -> Result<()> {
    let limit = |name: &str| limits.project.get(name).copied().unwrap_or(-1);
    let over = |name: &str, have: usize| limit(name) >= 0 && have as i64 > limit(name);
    if over("metadata_items", metadata) {
        return Err(Error::forbidden(format!(
            "Quota exceeded for metadata_items: maximum number of metadata items exceeds {}",
            limit("metadata_items")
        )));
    }
    if over("injected_files", files.len()) {
        return Err(Error::forbidden("Quota exceeded: personality file limit exceeded."));
    }
    if files.iter().any(|(path, _)| over("injected_file_path_bytes", path.len())) {
        return Err(Error::forbidden("Quota exceeded: personality file path exceeds maximum length."));
    }
    // three bytes in four characters of base64
    if files.iter().any(|(_, contents)| over("injected_file_content_bytes", contents.trim_end_matches('=').len() * 3 / 4)) {
        return Err(Error::forbidden("Quota exceeded: personality file content exceeds maximum length."));
    }
    Ok(())
}

const ADD: &str = "INSERT INTO quota_usages (project_id, instances, cores, ram) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (project_id) DO UPDATE SET instances = quota_usages.instances + excluded.instances, \
    cores = quota_usages.cores + excluded.cores, ram = quota_usages.ram + excluded.ram RETURNING project_id, instances, cores, ram";

/// Counts `servers` more, or fewer when below zero; answers what the project uses then.
pub async fn add(tx: &impl ConnectionTrait, project_id: &str, need: Need, servers: i64) -> Result<Model> {
    let values = [project_id.into(), servers.into(), (need.cores * servers).into(), (need.ram * servers).into()];
    let counted = Model::find_by_statement(Statement::from_sql_and_values(tx.get_database_backend(), ADD, values));
    counted.one(tx).await?.ok_or_else(|| Error::internal("a project's use was not counted"))
}

/// Counts what a project uses, and corrects its row where that is not what it says.
pub async fn recount(tx: &impl ConnectionTrait, project_id: &str) -> Result<()> {
    use instance::Column as Of;
    // whoever changes the count meanwhile waits for this row, and has written its servers when it has let go of it
    let row = add(tx, project_id, Need { cores: 0, ram: 0 }, 0).await?;
    let counted: Option<(i64, Option<i64>, Option<i64>)> = instance::Entity::find()
        .select_only()
        .column_as(Of::Id.count(), "instances")
        .expr_as(Expr::col(Of::Vcpus).sum().cast_as("BIGINT"), "cores")
        .expr_as(Expr::col(Of::RamMb).sum().cast_as("BIGINT"), "ram")
        .filter(Of::Deleted.eq(false))
        .filter(Of::ProjectId.eq(project_id))
        .into_tuple()
        .one(tx)
        .await?;
    let (instances, cores, ram) = counted.unwrap_or_default();
    let counted = Model { project_id: project_id.to_owned(), instances, cores: cores.unwrap_or(0), ram: ram.unwrap_or(0) };
    if counted == row {
        return Ok(());
    }
    tracing::warn!(project = project_id, ?row, ?counted, "the quota count had drifted");
    let right = ActiveModel { instances: Set(counted.instances), cores: Set(counted.cores), ram: Set(counted.ram), ..Default::default() };
    Entity::update_many().set(right).filter(Column::ProjectId.eq(project_id)).exec(tx).await?;
    Ok(())
}

/// Takes more for a server that grows; 403 when that is too much. What it needs less of meanwhile is not given back here.
pub async fn grow(tx: &impl ConnectionTrait, project_id: &str, cores: i64, ram: i64) -> Result<()> {
    count(tx, project_id, cores, ram).await?;
    let limits = limits::all(tx, project_id).await?;
    let used = usage(tx, project_id).await?;
    let grows = [("cores", cores, used.cores), ("ram", ram, used.ram)].into_iter().filter(|(_, more, _)| *more > 0);
    let resources: Vec<_> =
        grows.map(|(name, more, used)| (name.to_owned(), more, used - more, limits.get(name).copied().unwrap_or(-1))).collect();
    let fits = |(_, more, used, limit): &(String, i64, i64, i64)| *limit < 0 || used + more <= *limit;
    if resources.iter().all(fits) { Ok(()) } else { Err(exceeded(&resources)) }
}

/// A server takes this much from now on, whatever it took before.
pub async fn settle(tx: &impl ConnectionTrait, instance_id: &str, cores: i64, ram: i64) -> Result<()> {
    use crate::servers::{instance, store};
    let Some(server) = store::load(tx, instance_id).await? else { return Ok(()) };
    count(tx, &server.project_id, cores - server.vcpus, ram - server.ram_mb).await?;
    let change = instance::ActiveModel { vcpus: Set(cores), ram_mb: Set(ram), ..Default::default() };
    store::change(tx, instance_id, store::Guard::default(), change).await.map(drop)
}

async fn count(tx: &impl ConnectionTrait, project_id: &str, cores: i64, ram: i64) -> Result<()> {
    let update = Entity::update_many()
        .col_expr(Column::Cores, Expr::col(Column::Cores).add(cores))
        .col_expr(Column::Ram, Expr::col(Column::Ram).add(ram))
        .filter(Column::ProjectId.eq(project_id));
    update.exec(tx).await?;
    Ok(())
}

/// `Quota exceeded for cores, instances: Requested 20, 20, but already used 2, 2 of 20, 10 cores, instances`
fn exceeded(resources: &[(String, i64, i64, i64)]) -> Error {
    let over: Vec<_> = resources.iter().filter(|(_, requested, used, limit)| *limit >= 0 && used + requested > *limit).collect();
    let join = |text: fn(&(String, i64, i64, i64)) -> String| over.iter().map(|r| text(r)).collect::<Vec<_>>().join(", ");
    let (names, requested) = (join(|r| r.0.clone()), join(|r| r.1.to_string()));
    let (used, limits) = (join(|r| r.2.to_string()), join(|r| r.3.to_string()));
    Error::forbidden(format!("Quota exceeded for {names}: Requested {requested}, but already used {used} of {limits} {names}"))
}

/// Refuses more metadata than a server of the project may have.
pub async fn metadata(db: &impl ConnectionTrait, project: &str, items: usize) -> Result<()> {
    let most = limits::of(db, project, "metadata_items").await?;
    if most >= 0 && items as i64 > most {
        return Err(Error::forbidden(format!("Maximum number of metadata items exceeds {most}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_only_what_is_exceeded() {
        let resources = [("cores".into(), 20, 2, 20), ("instances".into(), 20, 2, 10), ("ram".into(), 20, 0, -1)];
        assert_eq!(
            exceeded(&resources).message,
            "Quota exceeded for cores, instances: Requested 20, 20, but already used 2, 2 of 20, 10 cores, instances"
        );
    }
}
