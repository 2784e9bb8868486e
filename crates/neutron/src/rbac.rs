//! RBAC policies: with whom an owner shares an object. `shared` of networks and others is one of these, for everybody.

use std::collections::HashSet;

use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Path, Reply, Result, ids};
use sea_orm::ConnectionTrait;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, Query, SelectStatement};
use serde_json::{Map, Value, json};

use crate::attributes::{Attribute, Checked, ID, Input, PROJECT, TENANT};
use crate::fault::{bad_request, conflict, enforce, invalid_input, not_found};
use crate::resource::{Resource, Seen, changeable, insert, remove, save};
use crate::values::Kind;
use crate::{App, Tx, listing, quotas, sql};

pub const SHARED: &str = "access_as_shared";
pub const EXTERNAL: &str = "access_as_external";
/// Everybody.
pub const ALL: &str = "*";

/// What can be shared: its type, table, and whose uses of it count, as rows of `project_id`; `$1` is the object. An owner's own ports on a
/// network do not count; other uses by the owner do.
const OBJECTS: &[(&str, &str, &str)] = &[
    (
        "network",
        "networks",
        "SELECT p.project_id FROM ports p JOIN networks n ON n.id = p.network_id \
         WHERE p.network_id = $1 AND p.project_id <> '' AND p.project_id <> n.project_id",
    ),
    (
        "security_group",
        "security_groups",
        "SELECT p.project_id FROM port_security_groups g JOIN ports p ON p.id = g.port_id WHERE g.security_group_id = $1",
    ),
    (
        "qos_policy",
        "qos_policies",
        "SELECT project_id FROM ports WHERE qos_policy_id = $1 UNION SELECT project_id FROM networks WHERE qos_policy_id = $1",
    ),
    ("address_scope", "address_scopes", "SELECT project_id FROM subnetpools WHERE address_scope_id = $1"),
    ("subnetpool", "subnetpools", "SELECT project_id FROM subnets WHERE subnetpool_id = $1"),
    ("address_group", "address_groups", "SELECT project_id FROM security_group_rules WHERE remote_address_group_id = $1"),
];

const TYPES: &[&str] = &["network", "security_group", "qos_policy", "address_scope", "subnetpool", "address_group"];

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "rbac_policies")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub project_id: String,
    pub object_type: String,
    pub object_id: String,
    pub action: String,
    /// A project, or `*`.
    pub target_project: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Resource for Model {
    const KEY: &'static str = "rbac_policy";
    const PLURAL: &'static str = "rbac_policies";
    const TABLE: &'static str = "rbac_policies";
    const NOUN: &'static str = "RBAC policy";
    const NOT_FOUND: &'static str = "RbacPolicyNotFound";
    const ATTRIBUTES: &'static [Attribute] = &[
        ID,
        PROJECT,
        TENANT,
        Attribute::fixed("object_type", Kind::OneOf(TYPES)).required(),
        Attribute::fixed("object_id", Kind::Text(36)).required(),
        Attribute::fixed("action", Kind::OneOf(&[SHARED, EXTERNAL])).required(),
        Attribute::writable("target_tenant", Kind::Text(255)).column("target_project"),
    ];

    crate::standard!(bare);

    fn view(&self, _: &Seen) -> Map<String, Value> {
        let view = json!({
            "id": self.id, "project_id": self.project_id, "tenant_id": self.project_id, "object_type": self.object_type,
            "object_id": self.object_id, "action": self.action, "target_tenant": self.target_project,
        });
        if let Value::Object(view) = view { view } else { Map::new() }
    }
}

/// Objects of a type that a project may use in any way.
pub fn objects(kind: &'static str, project: &str) -> SelectStatement {
    Query::select()
        .column("object_id")
        .from("rbac_policies")
        .and_where(Expr::col("object_type").eq(kind))
        .and_where(Expr::col("target_project").is_in([project, ALL]))
        .to_owned()
}

/// Objects of a type that are shared with a project.
pub fn shared_objects(kind: &'static str, project: &str) -> SelectStatement {
    objects(kind, project).and_where(Expr::col("action").eq(SHARED)).to_owned()
}

/// The same, read.
pub async fn shared_with<C: ConnectionTrait>(db: &C, kind: &'static str, project: &str) -> Result<HashSet<String>> {
    let select =
        "SELECT object_id FROM rbac_policies WHERE object_type = $1 AND action = 'access_as_shared' AND target_project IN ($2, '*')";
    Ok(sql::texts(db, select, [kind.into(), project.into()]).await?.into_iter().collect())
}

/// Whether an object is shared with a project.
pub async fn is_shared<C: ConnectionTrait>(db: &C, object: &str, project: &str) -> Result<bool> {
    let select = "SELECT 1 FROM rbac_policies WHERE object_id = $1 AND action = 'access_as_shared' AND target_project IN ($2, '*')";
    sql::exists(db, select, [object.into(), project.into()]).await
}

/// Lets everybody use an object, or no longer; what uses it keeps it shared.
pub async fn share(tx: &Tx<'_>, kind: &'static str, object: &str, owner: &str, action: &'static str, shared: bool) -> Result<()> {
    if shared {
        let row = Model {
            id: ids::uuid(),
            project_id: owner.to_owned(),
            object_type: kind.to_owned(),
            object_id: object.to_owned(),
            action: action.to_owned(),
            target_project: ALL.to_owned(),
        };
        insert(tx.db, &row).await?;
        return quotas::forget(tx, owner, "rbac_policy").await;
    }
    let delete = "DELETE FROM rbac_policies WHERE object_id = $1 AND action = $2 AND target_project = '*'";
    sql::execute(tx.db, delete, [object.into(), action.into()]).await.map(drop)
}

/// An object is about to go: nobody may use it any more.
pub async fn forget(tx: &Tx<'_>, object: &str) -> Result<()> {
    sql::execute(tx.db, "DELETE FROM rbac_policies WHERE object_id = $1", [object.into()]).await.map(drop)
}

/// Whether somebody uses an object by this policy and by no other: the project it names or, with `*`, whoever does.
pub async fn in_use(tx: &Tx<'_>, row: &Model) -> Result<bool> {
    let Some((_, _, users)) = OBJECTS.iter().find(|(kind, _, _)| *kind == row.object_type) else { return Ok(false) };
    let dependent = format!(
        "SELECT 1 FROM ({users}) u WHERE ($2 = '*' OR u.project_id = $2) AND NOT EXISTS (SELECT 1 FROM rbac_policies o \
         WHERE o.object_id = $1 AND o.id <> $3 AND o.action = $4 AND o.target_project IN ('*', u.project_id)) LIMIT 1"
    );
    let values = [&row.object_id, &row.target_project, &row.id, &row.action].map(|text| text.as_str().into());
    sql::exists(tx.db, &dependent, values).await
}

/// `POST /rbac-policies`
pub async fn create(app: App, ctx: Context, input: Input) -> Result<Reply> {
    let (bodies, bulk) = input.many(Model::KEY, Model::PLURAL)?;
    let mut rows = Vec::with_capacity(bodies.len());
    for mut body in bodies {
        rename_target(&mut body);
        let checked = Checked::create(&ctx, Model::KEY, Model::ATTRIBUTES, body)?;
        let row = Model {
            id: ids::uuid(),
            project_id: checked.text("project_id")?,
            object_type: checked.text("object_type")?,
            object_id: checked.text("object_id")?,
            action: checked.text("action")?,
            target_project: checked.or("target_tenant", String::new())?,
        };
        check(&ctx, "create", &row)?;
        rows.push(row);
    }
    let by = ctx.clone();
    let rows = app.write(move |tx| {
        Box::pin(async move {
            for row in &rows {
                make(&tx, &by, row).await?;
            }
            Ok(rows)
        })
    });
    listing::created(&app, &ctx, rows.await?, bulk).await
}

/// Both names of the same.
fn rename_target(body: &mut Map<String, Value>) {
    if let Some(target) = body.remove("target_project").or_else(|| body.remove("target_project_id")) {
        body.insert("target_tenant".into(), target);
    }
}

fn check(ctx: &Context, verb: &str, row: &Model) -> Result<()> {
    if row.target_project.is_empty() {
        return Err(Error::bad_request("Failed to parse request. Required attribute 'target_tenant' not specified"));
    }
    if row.action == EXTERNAL && row.object_type != "network" {
        let message = format!("Invalid action '{EXTERNAL}' for object type '{}'. Valid actions: ['{SHARED}']", row.object_type);
        return Err(bad_request("InvalidInput", message));
    }
    if row.target_project == ALL {
        enforce(ctx, &format!("{verb}_rbac_policy:target_tenant"), &Target::project(&row.project_id))?;
    }
    Ok(())
}

async fn make(tx: &Tx<'_>, ctx: &Context, row: &Model) -> Result<()> {
    let table = OBJECTS.iter().find(|(kind, _, _)| *kind == row.object_type).map_or("networks", |(_, table, _)| *table);
    let owner = sql::texts(tx.db, &format!("SELECT project_id FROM {table} WHERE id = $1"), [row.object_id.as_str().into()]).await?;
    let code = "RbacObjectNotFound";
    let unknown = || not_found(code, &row.object_type.replace('_', " "), &row.object_id);
    let owner = owner.first().ok_or_else(unknown)?;
    if !ctx.is_admin() && *owner != row.project_id {
        // who does not see it shall not learn of it here
        let seen = is_shared(tx.db, &row.object_id, &row.project_id).await?;
        return Err(if seen { invalid_input("Only admins can manipulate policies on objects they do not own") } else { unknown() });
    }
    check_scope(tx, row).await?;
    quotas::spend(tx, &row.project_id, "rbac_policy", 1).await?;
    if !insert(tx.db, row).await? {
        return Err(conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values."));
    }
    follow(tx, row).await
}

/// Whoever may use a subnet pool may use the address scope it is in.
async fn check_scope(tx: &Tx<'_>, row: &Model) -> Result<()> {
    let shared = "SELECT p.address_scope_id FROM subnetpools p JOIN address_scopes s ON s.id = p.address_scope_id \
                  WHERE p.id = $1 AND s.project_id <> $2 AND NOT EXISTS (SELECT 1 FROM rbac_policies r \
                  WHERE r.object_id = s.id AND r.action = 'access_as_shared' AND r.target_project IN ($2, '*'))";
    let values = [row.object_id.as_str().into(), row.target_project.as_str().into()];
    match sql::texts(tx.db, shared, values).await?.first() {
        Some(scope) => Err(invalid_input(format!(
            "Illegal subnetpool share: the address scope {scope} of subnetpool {} is not shared with project {}",
            row.object_id, row.target_project
        ))),
        None => Ok(()),
    }
}

/// Routers that no other policy would let use an external network, were this one gone or, with `next`, that project's.
async fn gateways_depend(tx: &Tx<'_>, row: &Model, next: Option<&str>) -> Result<bool> {
    let dependent = "SELECT 1 FROM routers r WHERE r.gateway_network_id = $1 AND r.project_id <> $2 AND ($3 = '*' OR r.project_id = $3) \
                     AND r.project_id <> $4 AND NOT EXISTS (SELECT 1 FROM rbac_policies o WHERE o.object_id = $1 AND o.id <> $5 \
                     AND o.action = 'access_as_external' AND o.target_project IN ('*', r.project_id)) LIMIT 1";
    let values = [&row.object_id, &row.project_id, &row.target_project, next.unwrap_or_default(), &row.id];
    let texts = values.map(|text: &str| text.into());
    sql::exists(tx.db, dependent, texts).await
}

/// What uses an object by a policy keeps the policy as it is; so does being the default external network.
async fn check_unused(tx: &Tx<'_>, row: &Model, next: Option<&str>) -> Result<()> {
    if next == Some(ALL) {
        return Ok(());
    }
    if row.action == SHARED {
        return if in_use(tx, row).await? { Err(used(row)) } else { Ok(()) };
    }
    let default = "SELECT 1 FROM networks WHERE id = $1 AND is_default AND external";
    let is_default = row.target_project == ALL && sql::exists(tx.db, default, [row.object_id.as_str().into()]).await?;
    if is_default || gateways_depend(tx, row, next).await? { Err(used(row)) } else { Ok(()) }
}

/// The sharing of an object is part of it: it counts as a change.
async fn bump(tx: &Tx<'_>, row: &Model) -> Result<()> {
    let Some((_, table, _)) = OBJECTS.iter().find(|(kind, _, _)| *kind == row.object_type && *kind != "address_scope") else {
        return Ok(());
    };
    let bump = format!("UPDATE {table} SET revision_number = revision_number + 1, updated_at = $1 WHERE id = $2");
    sql::execute(tx.db, &bump, [Timestamp::now().0.into(), row.object_id.as_str().into()]).await.map(drop)
}

/// A network that somebody may use as an external one is external.
async fn follow(tx: &Tx<'_>, row: &Model) -> Result<()> {
    bump(tx, row).await?;
    if row.action != EXTERNAL {
        return Ok(());
    }
    let set = "UPDATE networks SET external = EXISTS (SELECT 1 FROM rbac_policies WHERE object_id = $1 AND action = 'access_as_external') WHERE id = $1";
    sql::execute(tx.db, set, [row.object_id.as_str().into()]).await?;
    tx.touch(crate::agents::Touched::Network(row.object_id.clone()));
    Ok(())
}

/// `PUT /rbac-policies/{rbac_policy_id}`: another target.
pub async fn update(app: App, ctx: Context, id: Path<String>, input: Input) -> Result<Reply> {
    let mut body = input.one(Model::KEY)?;
    rename_target(&mut body);
    let checked = Checked::update(Model::ATTRIBUTES, body)?;
    let by = ctx.clone();
    let row = app.write(move |tx| {
        Box::pin(async move {
            let before: Model = changeable(tx.db, &by, "update_rbac_policy", &id.0).await?;
            let mut row = before.clone();
            checked.set("target_tenant", &mut row.target_project)?;
            check(&by, "update", &row)?;
            if row != before {
                check_unused(&tx, &before, Some(&row.target_project)).await?;
                save(tx.db, &mut row).await?;
                follow(&tx, &row).await?;
            }
            Ok(row)
        })
    });
    listing::updated(&app, &ctx, row.await?).await
}

/// `DELETE /rbac-policies/{rbac_policy_id}`
pub async fn delete(app: App, ctx: Context, id: Path<String>) -> Result<Reply> {
    app.write(move |tx| {
        Box::pin(async move {
            let row: Model = changeable(tx.db, &ctx, "delete_rbac_policy", &id.0).await?;
            check_unused(&tx, &row, None).await?;
            remove::<Model, _>(tx.db, &row.id).await?;
            follow(&tx, &row).await
        })
    })
    .await?;
    Reply::no_content()
}

fn used(row: &Model) -> Error {
    let message = format!("RBAC policy on object {} cannot be removed because other objects depend on it.", row.object_id);
    conflict("RbacPolicyInUse", message)
}
