//! What all main resources have in common: how they are found, kept and shown. Each room says what is its own in a [`Resource`].

use std::future::Future;

use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Result};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, LockType, OnConflict};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, FromQueryResult, IntoActiveModel, ModelTrait, QueryFilter,
    QuerySelect,
};
use serde_json::{Map, Value, json};

use crate::attributes::Attribute;
use crate::{fault, rbac};

/// Of two who change a row one waits. Rows that only name it do not: no row changes its id, and who removes one waits for those anyway.
const LOCK: LockType = LockType::NoKeyUpdate;

/// A row of a main table, which is also a resource of the API.
pub trait Resource:
    ModelTrait<Entity = Self::Table>
    + IntoActiveModel<<Self::Table as EntityTrait>::ActiveModel>
    + FromQueryResult
    + Clone
    + Send
    + Sync
    + 'static
{
    type Table: EntityTrait<Model = Self, ActiveModel: Send>;
    /// `network`: the key of a body, and the stem of policy rules.
    const KEY: &'static str;
    /// `networks`: the key of a list.
    const PLURAL: &'static str;
    /// Its table.
    const TABLE: &'static str;
    /// `Network`, in messages; `NetworkNotFound` is the type of its 404.
    const NOUN: &'static str;
    const NOT_FOUND: &'static str;
    const ATTRIBUTES: &'static [Attribute];
    /// Its name in RBAC policies, if its owner may share it.
    const SHARED_AS: Option<&'static str> = None;
    /// A list goes on from its beginning when whoever asks does not see the marker; of others that is a 404.
    const ANY_MARKER: bool = false;
    /// It has tags.
    const TAGGED: bool = false;

    fn id(&self) -> &str;
    fn project_id(&self) -> &str;
    /// Counts a change.
    fn touch(&mut self) {}

    fn revision(&self) -> Option<i64> {
        None
    }

    fn tags(&mut self) -> Option<&mut Vec<String>> {
        None
    }

    /// What a project that is not an administrator's sees: its own and what is shared with it, unless the room says more.
    fn visible(project: &str) -> Condition {
        let own = Condition::any().add(Expr::col((Self::TABLE, "project_id")).eq(project));
        match Self::SHARED_AS {
            Some(kind) => own.add(Expr::col((Self::TABLE, "id")).in_subquery(rbac::objects(kind, project))),
            None => own,
        }
    }

    /// Where its list is.
    fn path() -> String {
        format!("/{}", Self::PLURAL.replace('_', "-"))
    }

    /// Filters that are no plain column.
    fn filter(_name: &str, _values: &[&str], _seen: &Seen) -> Option<Condition> {
        None
    }

    /// As the API shows it, with what administrators and services see besides.
    fn view(&self, seen: &Seen) -> Map<String, Value>;

    /// Many at once, with whatever else has to be looked up for them, in a number of queries that does not grow with them.
    fn views(_: &DatabaseConnection, rows: Vec<Self>, seen: &Seen) -> impl Future<Output = Result<Vec<Map<String, Value>>>> + Send {
        async move { Ok(rows.iter().map(|row| row.view(seen)).collect()) }
    }
}

/// For whom a view is made.
#[derive(Clone, Debug)]
pub struct Seen {
    pub admin: bool,
    pub project: String,
}

impl From<&Context> for Seen {
    fn from(ctx: &Context) -> Seen {
        Seen { admin: ctx.is_service_or_admin(), project: ctx.project_id().unwrap_or_default().to_owned() }
    }
}

/// Writes the accessors of a [`Resource`] whose model has the usual columns; `untagged` without tags, `bare` without revision either.
#[macro_export]
macro_rules! standard {
    () => {
        $crate::standard!(untagged);

        const TAGGED: bool = true;

        fn tags(&mut self) -> Option<&mut Vec<String>> {
            Some(&mut self.tags.0)
        }
    };
    (untagged) => {
        $crate::standard!(bare);

        fn touch(&mut self) {
            self.revision_number += 1;
            self.updated_at = kit::clock::Timestamp::now();
        }

        fn revision(&self) -> Option<i64> {
            Some(self.revision_number)
        }
    };
    (bare) => {
        type Table = Entity;

        fn id(&self) -> &str {
            &self.id
        }

        fn project_id(&self) -> &str {
            &self.project_id
        }
    };
}

/// The attributes every view has.
pub fn standard_view(
    id: &str,
    project: &str,
    description: &str,
    revision: i64,
    created: Timestamp,
    updated: Timestamp,
) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("id".into(), json!(id));
    view.insert("project_id".into(), json!(project));
    view.insert("tenant_id".into(), json!(project));
    view.insert("description".into(), json!(description));
    view.insert("revision_number".into(), json!(revision));
    view.insert("created_at".into(), json!(created.to_seconds_z()));
    view.insert("updated_at".into(), json!(updated.to_seconds_z()));
    view
}

/// Adds a view's own attributes.
pub fn extend(view: &mut Map<String, Value>, own: Value) {
    if let Value::Object(own) = own {
        view.extend(own);
    }
}

/// What the caller may see at all. A service that calls in a user's name sees what that user sees: its own token beside the user's must not
/// lead the user to what is others'.
pub fn visible<R: Resource>(ctx: &Context) -> Result<Condition> {
    if ctx.is_admin() || ctx.identity()?.has_role("service") {
        return Ok(Condition::all());
    }
    Ok(R::visible(ctx.project_id()?))
}

pub fn missing<R: Resource>(id: &str) -> Error {
    fault::not_found(R::NOT_FOUND, R::NOUN, id)
}

/// Rows with an id. Text that no database keeps is nobody's.
fn by_id<R: Resource>(id: &str) -> sea_orm::Select<R::Table> {
    R::Table::find().filter(Expr::col((R::TABLE, "id")).eq(id.replace('\0', "?")))
}

/// A resource that the caller sees; 404 otherwise.
pub async fn seen<R: Resource, C: ConnectionTrait>(db: &C, ctx: &Context, id: &str) -> Result<R> {
    let query = by_id::<R>(id).filter(visible::<R>(ctx)?);
    query.one(db).await?.ok_or_else(|| missing::<R>(id))
}

/// A resource that the caller may change by `rule`, locked until the end of the transaction: 403 when it is their project's and their role
/// does not do, 404 when it is another's.
pub async fn changeable<R: Resource, C: ConnectionTrait>(tx: &C, ctx: &Context, rule: &str, id: &str) -> Result<R> {
    let query = by_id::<R>(id).filter(visible::<R>(ctx)?);
    let row = query.lock(LOCK).one(tx).await?.ok_or_else(|| missing::<R>(id))?;
    enforce_on(ctx, rule, row.project_id(), &Target::project(row.project_id()))?;
    Ok(row)
}

/// Whether the caller may do what `rule` is about with something of `owner`; what is another project's they shall not know of.
pub fn enforce_on(ctx: &Context, rule: &str, owner: &str, target: &Target) -> Result<()> {
    match fault::enforce(ctx, rule, target) {
        Err(_) if ctx.project_id().ok() != Some(owner) => Err(fault::hidden()),
        allowed => allowed,
    }
}

/// A resource, whoever owns it.
pub async fn fetch<R: Resource, C: ConnectionTrait>(db: &C, id: &str) -> Result<Option<R>> {
    Ok(by_id::<R>(id).one(db).await?)
}

/// The same, locked until the end of the transaction; 404 when there is none.
pub async fn locked<R: Resource, C: ConnectionTrait>(tx: &C, id: &str) -> Result<R> {
    let query = by_id::<R>(id);
    query.lock(LOCK).one(tx).await?.ok_or_else(|| missing::<R>(id))
}

/// All rows with one of `values` in a column.
pub async fn with<R: Resource, C: ConnectionTrait>(db: &C, column: &'static str, values: &[String]) -> Result<Vec<R>> {
    let mut rows = Vec::new();
    // databases take so many parameters and no more
    for some in values.chunks(1000) {
        rows.extend(R::Table::find().filter(Expr::col((R::TABLE, column)).is_in(some.iter().map(String::as_str))).all(db).await?);
    }
    Ok(rows)
}

/// Inserts a row; false when another one has what must be unique.
pub async fn insert<R: Resource, C: ConnectionTrait>(tx: &C, row: &R) -> Result<bool> {
    let insert = R::Table::insert(row.clone().into_active_model().reset_all()).on_conflict(OnConflict::new().do_nothing().to_owned());
    match insert.exec_without_returning(tx).await {
        Ok(rows) => Ok(rows > 0),
        Err(DbErr::RecordNotInserted) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Saves a changed row, counting the change.
pub async fn save<R: Resource, C: ConnectionTrait>(tx: &C, row: &mut R) -> Result<()> {
    row.touch();
    let update = R::Table::update_many().set(row.clone().into_active_model().reset_all());
    update.filter(Expr::col((R::TABLE, "id")).eq(row.id())).exec(tx).await?;
    Ok(())
}

pub async fn remove<R: Resource, C: ConnectionTrait>(tx: &C, id: &str) -> Result<()> {
    R::Table::delete_many().filter(Expr::col((R::TABLE, "id")).eq(id)).exec(tx).await?;
    Ok(())
}
