//! `/os-server-groups`: servers that shall be together, or apart.

use std::collections::HashMap;

use kit::call::{Wrapped, Wrapper};
use kit::clock::Timestamp;
use kit::microversion::Microversion;
use kit::policy::Target;
use kit::{Context, Error, Path, Query, Reply, Result, Versioned, ids};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{ConnectionTrait, QueryOrder, QuerySelect, Set};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::microversions::{GROUP_POLICY, SOFT_GROUPS, STRICT};
use crate::servers::instance;
use crate::{Nova, quotas, validate};

/// A row of `server_groups`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "server_groups")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub user_id: String,
    pub name: String,
    pub policy: String,
    pub max_server_per_host: Option<i64>,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The `server_group_members` table.
mod member {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "server_group_members")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub group_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub instance_id: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The group a hint names; of several the first.
pub fn of_hints(hints: &Value) -> Option<String> {
    let group = hints.get("group")?;
    group.get(0).unwrap_or(group).as_str().filter(|id| !id.is_empty()).map(str::to_owned)
}

/// The group a new server joins; it must exist in the caller's project.
pub async fn for_server(app: &Nova, ctx: &Context, hints: &Value) -> Result<Option<String>> {
    let Some(id) = of_hints(hints) else { return Ok(None) };
    match fetch(app, ctx, &id).await {
        Ok(group) => Ok(Some(group.id)),
        Err(error) if error.is_not_found() => Err(Error::bad_request(format!("Instance group {id} could not be found."))),
        Err(error) => Err(error),
    }
}

/// A server joins a group; 403 when the group is full.
pub async fn join(tx: &impl ConnectionTrait, group: &str, instance_id: &str) -> Result<()> {
    let Some(row) = Entity::find_by_id(group).one(tx).await? else {
        return Err(Error::bad_request(format!("Instance group {group} could not be found.")));
    };
    let most = quotas::limits::of(tx, &row.project_id, "server_group_members").await?;
    let have = member::Entity::find().filter(member::Column::GroupId.eq(group)).count(tx).await?;
    if most >= 0 && have as i64 >= most {
        return Err(Error::forbidden("Quota exceeded, too many servers in group"));
    }
    let row = member::ActiveModel { group_id: Set(group.to_owned()), instance_id: Set(instance_id.to_owned()) };
    member::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// A server leaves its groups.
pub async fn leave(tx: &impl ConnectionTrait, instance_id: &str) -> Result<()> {
    member::Entity::delete_many().filter(member::Column::InstanceId.eq(instance_id)).exec(tx).await?;
    Ok(())
}

/// Servers to their groups.
pub async fn groups_of(app: &Nova, instances: &[String]) -> Result<HashMap<String, String>> {
    let rows = member::Entity::find().filter(member::Column::InstanceId.is_in(instances.iter().map(String::as_str)));
    let rows = rows.all(app.db.read()).await?;
    Ok(rows.into_iter().map(|row| (row.instance_id, row.group_id)).collect())
}

/// How the members of a group are spread over the hosts.
pub struct Spread {
    pub policy: String,
    pub max_per_host: usize,
    pub members: HashMap<String, usize>,
}

/// The spread of a group, without one of its members.
pub async fn spread(db: &impl ConnectionTrait, group: &str, without: &str) -> Result<Option<Spread>> {
    let Some(row) = Entity::find_by_id(group).one(db).await? else { return Ok(None) };
    let mut members = HashMap::new();
    let ids = member_ids(db, group).await?;
    let hosts: Vec<Option<String>> = instance::Entity::find()
        .select_only()
        .column(instance::Column::Host)
        .filter(instance::Column::Id.is_in(ids.iter().map(String::as_str).filter(|id| *id != without)))
        .filter(instance::Column::Deleted.eq(false))
        .into_tuple()
        .all(db)
        .await?;
    for host in hosts.into_iter().flatten() {
        *members.entry(host).or_default() += 1;
    }
    let max_per_host = row.max_server_per_host.and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    Ok(Some(Spread { policy: row.policy, max_per_host, members }))
}

impl Spread {
    /// Whether one more member may be on this host.
    pub fn admits(&self, host: &str) -> bool {
        match self.policy.as_str() {
            "affinity" => self.members.is_empty() || self.members.contains_key(host),
            "anti-affinity" => self.members.get(host).copied().unwrap_or(0) < self.max_per_host.max(1),
            _ => true,
        }
    }
}

/// Whether a member may be put on this host, by what all others wrote down until now. The group is this transaction's from here on, so that of
/// members placed at once each sees where those before it went.
pub async fn admits(tx: &impl ConnectionTrait, group: &str, instance_id: &str, host: &str) -> Result<bool> {
    Entity::update_many().col_expr(Column::Name, Expr::col(Column::Name)).filter(Column::Id.eq(group)).exec(tx).await?;
    Ok(spread(tx, group, instance_id).await?.is_none_or(|spread| spread.admits(host)))
}

/// How many groups a project has.
pub async fn count(app: &Nova, project: &str) -> Result<u64> {
    Ok(Entity::find().filter(Column::ProjectId.eq(project)).count(app.db.read()).await?)
}

async fn member_ids(db: &impl ConnectionTrait, group: &str) -> Result<Vec<String>> {
    Ok(members_of(db, std::iter::once(group)).await?.remove(group).unwrap_or_default())
}

/// The members of groups, by group.
async fn members_of(db: &impl ConnectionTrait, groups: impl Iterator<Item = &str> + Send) -> Result<HashMap<String, Vec<String>>> {
    let rows = member::Entity::find().filter(member::Column::GroupId.is_in(groups)).order_by_asc(member::Column::InstanceId);
    let mut members: HashMap<String, Vec<String>> = HashMap::new();
    for row in rows.all(db).await? {
        members.entry(row.group_id).or_default().push(row.instance_id);
    }
    Ok(members)
}

async fn fetch(app: &Nova, ctx: &Context, id: &str) -> Result<Model> {
    let row = Entity::find_by_id(id).one(app.db.read()).await?;
    let own = |row: &Model| ctx.is_admin() || ctx.project_id().is_ok_and(|project| project == row.project_id);
    row.filter(own).ok_or_else(|| Error::not_found(format!("Instance group {id} could not be found.")))
}

fn view(ctx: &Context, row: &Model, members: Vec<String>) -> Value {
    let mut view = json!({"id": row.id, "name": row.name, "members": members});
    if ctx.speaks(GROUP_POLICY) {
        view["policy"] = json!(row.policy);
        view["rules"] = row.max_server_per_host.map_or_else(|| json!({}), |n| json!({"max_server_per_host": n}));
    } else {
        view["policies"] = json!([row.policy]);
        view["metadata"] = json!({});
    }
    if ctx.speaks(Microversion(2, 13)) {
        view["project_id"] = json!(row.project_id);
        view["user_id"] = json!(row.user_id);
    }
    view
}

/// `GET /os-server-groups`
pub async fn list(app: Nova, ctx: Context, query: Query) -> Result<Reply> {
    validate::query_keys(&ctx, &query, STRICT, &["all_projects", "limit", "offset"])?;
    let page = kit::collection::Page::parse(&query, app.config.max_limit, app.config.max_limit)?;
    let mut select = Entity::find().order_by_asc(Column::CreatedAt).limit(page.limit).offset(page.offset);
    if query.flag("all_projects") && ctx.is_admin() {
        ctx.enforce("os_compute_api:os-server-groups:index:all_projects", &Target::project(ctx.project_id()?))?;
    } else {
        select = select.filter(Column::ProjectId.eq(ctx.project_id()?));
    }
    let rows = select.all(app.db.read()).await?;
    let mut members = members_of(app.db.read(), rows.iter().map(|row| row.id.as_str())).await?;
    let groups: Vec<Value> = rows.iter().map(|row| view(&ctx, row, members.remove(&row.id).unwrap_or_default())).collect();
    Reply::ok(&json!({"server_groups": groups}))
}

/// `GET /os-server-groups/{id}`
pub async fn show(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let row = fetch(&app, &ctx, &id.0).await?;
    let members = member_ids(app.db.read(), &row.id).await?;
    Reply::ok(&json!({"server_group": view(&ctx, &row, members)}))
}

/// The object under `server_group`.
#[derive(Deserialize, Serialize, Versioned)]
pub struct CreateGroup {
    name: String,
    #[until(2.63)]
    policies: Option<Vec<String>>,
    #[since(2.64)]
    policy: Option<String>,
    #[since(2.64)]
    rules: Option<Rules>,
}

#[derive(Deserialize, Serialize)]
pub struct Rules {
    max_server_per_host: Option<Value>,
}

impl Wrapper for CreateGroup {
    const KEY: &'static str = "server_group";
    const EXACT: bool = true;
}

/// `POST /os-server-groups`
pub async fn create(app: Nova, ctx: Context, body: Wrapped<CreateGroup>) -> Result<Reply> {
    let new = body.inner;
    let name = validate::relaxed_name(ctx.strict, "name", &new.name)?;
    let policy = match (new.policy, new.policies.as_deref()) {
        (Some(policy), _) => policy,
        (None, Some([policy])) => policy.clone(),
        (None, Some(_)) => return Err(validate::invalid("policies", "[]", "It must have exactly one policy")),
        (None, None) => return Err(Error::bad_request("Invalid input for field/attribute server_group. 'policy' is a required property")),
    };
    let known: &[&str] = if ctx.speaks(SOFT_GROUPS) {
        &["anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity"]
    } else {
        &["anti-affinity", "affinity"]
    };
    if !known.contains(&policy.as_str()) {
        return Err(validate::invalid("policies", &policy, format!("'{policy}' is not one of {known:?}")));
    }
    let most = match new.rules.and_then(|rules| rules.max_server_per_host) {
        None => None,
        Some(_) if policy != "anti-affinity" => return Err(Error::bad_request("Only anti-affinity policy supports rules.")),
        Some(value) => Some(validate::integer("max_server_per_host", &value, 1, i64::from(i32::MAX))?),
    };
    let row = Model {
        id: ids::uuid(),
        project_id: ctx.project_id()?.to_owned(),
        user_id: ctx.user_id()?.to_owned(),
        name,
        policy,
        max_server_per_host: most,
        created_at: Timestamp::now(),
    };
    let new = row.clone();
    app.db
        .write(move |tx| {
            Box::pin(async move {
                let most = quotas::limits::of(tx, &new.project_id, "server_groups").await?;
                let have = Entity::find().filter(Column::ProjectId.eq(&new.project_id)).count(tx).await?;
                if most >= 0 && have as i64 >= most {
                    return Err(Error::forbidden("Quota exceeded, too many server groups."));
                }
                Entity::insert(ActiveModel::from(new)).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::ok(&json!({"server_group": view(&ctx, &row, Vec::new())}))
}

/// `DELETE /os-server-groups/{id}`
pub async fn delete(app: Nova, ctx: Context, id: Path<String>) -> Result<Reply> {
    let row = fetch(&app, &ctx, &id.0).await?;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                member::Entity::delete_many().filter(member::Column::GroupId.eq(&row.id)).exec(tx).await?;
                Entity::delete_by_id(&row.id).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}
