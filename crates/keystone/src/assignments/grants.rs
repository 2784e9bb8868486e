//! `/v3/{projects|domains|system}/.../{users|groups}/.../roles`: one grant at a time, and the roles of one actor on one target.
//!
//! A route is made of who (user or group), what (project, domain, system) and whether projects below inherit it; the handlers are the same.

use kit::call::{Call, FromCall};
use kit::policy::Target;
use kit::{Context, Error, Reply, Result};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::Value;

use super::{Column, Entity, Model, store};
use crate::{Keystone, application_credentials, fault, groups, list, policy, projects, roles, users};

/// Whose roles on what, as the path says.
pub struct Grant {
    row: Model,
    path: String,
}

impl FromCall<Keystone> for Grant {
    /// Reads `/projects/{id}/users/{id}/roles/{id}` and its siblings; the last id is absent where roles are listed.
    async fn from_call(call: &mut Call<Keystone>) -> Result<Grant> {
        let path = call.parts.uri.path().trim_end_matches('/').to_owned();
        let inside = path.strip_prefix("/v3").unwrap_or(&path).to_owned();
        let inherited = inside.starts_with("/OS-INHERIT");
        let words: Vec<&str> = inside.trim_start_matches("/OS-INHERIT").split('/').filter(|word| !word.is_empty()).collect();
        let missing = || Error::not_found("The resource could not be found.");
        let (target_kind, target_id, rest) = match words.as_slice() {
            ["projects", id, rest @ ..] => ("project", *id, rest),
            ["domains", id, rest @ ..] => ("domain", *id, rest),
            ["system", rest @ ..] => ("system", "system", rest),
            _ => return Err(missing()),
        };
        let (actor_kind, actor_id, rest) = match rest {
            ["users", id, "roles", rest @ ..] => ("user", *id, rest),
            ["groups", id, "roles", rest @ ..] => ("group", *id, rest),
            _ => return Err(missing()),
        };
        let role_id = rest.first().filter(|word| **word != "inherited_to_projects").copied().unwrap_or_default();
        let row = Model {
            actor_kind: actor_kind.to_owned(),
            actor_id: actor_id.to_owned(),
            target_kind: target_kind.to_owned(),
            target_id: target_id.to_owned(),
            role_id: role_id.to_owned(),
            inherited,
        };
        Ok(Grant { row, path: inside })
    }
}

/// `GET .../roles`
pub async fn list(keystone: Keystone, ctx: Context, grant: Grant) -> Result<Reply> {
    let db = keystone.db.read();
    allowed(db, &ctx, &grant.row).await?;
    let row = &grant.row;
    let held = Entity::find()
        .filter(Column::ActorId.eq(&row.actor_id))
        .filter(Column::TargetKind.eq(&row.target_kind))
        .filter(Column::TargetId.eq(&row.target_id))
        .filter(Column::Inherited.eq(row.inherited))
        .all(db)
        .await?;
    let ids = held.into_iter().map(|held| held.role_id);
    let rows = roles::Entity::find().filter(roles::Column::Id.is_in(ids)).order_by_asc(roles::Column::Name).all(db).await?;
    let items: Vec<Value> = rows.iter().map(|role| roles::api::view(&ctx, role)).collect();
    list::whole(&ctx, &grant.path, &kit::Query::default(), "roles", items)
}

/// `HEAD` and `GET .../roles/{role_id}`
pub async fn check(keystone: Keystone, ctx: Context, grant: Grant) -> Result<Reply> {
    let db = keystone.db.read();
    allowed(db, &ctx, &grant.row).await?;
    if store::exists(db, &grant.row).await? { Reply::no_content() } else { Err(unknown(&grant.row)) }
}

/// `PUT .../roles/{role_id}`
pub async fn create(keystone: Keystone, ctx: Context, grant: Grant) -> Result<Reply> {
    allowed(keystone.db.read(), &ctx, &grant.row).await?;
    keystone
        .write(move |tx| {
            Box::pin(async move {
                let role = roles::store::fetch(tx, &grant.row.role_id).await?;
                known(tx, &grant.row).await?;
                let of_domain = !role.domain_id.is_empty();
                // on a domain, such a role is only a name for the roles it implies, so any domain may have it
                if of_domain && grant.row.target_kind == "project" && role.domain_id != target_domain(tx, &grant.row).await? {
                    return Err(Error::forbidden(format!(
                        "Project {} must be in the same domain as the role {} being assigned.",
                        grant.row.target_id, grant.row.role_id
                    )));
                }
                if of_domain && grant.row.target_kind == "system" {
                    return Err(fault::refused("cannot assign a role of a domain on the system."));
                }
                store::insert(tx, grant.row).await
            })
        })
        .await?;
    Reply::no_content()
}

/// `DELETE .../roles/{role_id}`
pub async fn delete(keystone: Keystone, ctx: Context, grant: Grant) -> Result<Reply> {
    allowed(keystone.db.read(), &ctx, &grant.row).await?;
    keystone
        .write(move |tx| {
            Box::pin(async move {
                if !store::delete(tx, &grant.row).await? {
                    return Err(unknown(&grant.row));
                }
                // credentials that were made with the role do not come back with it
                if grant.row.actor_kind == "user" && grant.row.target_kind == "project" {
                    application_credentials::store::delete_of(tx, &grant.row.actor_id, &grant.row.target_id).await?;
                }
                Ok(())
            })
        })
        .await?;
    Reply::no_content()
}

/// Whether policy lets the caller see or change grants here, and the role, the actor and the target exist.
async fn allowed(db: &impl ConnectionTrait, ctx: &Context, row: &Model) -> Result<()> {
    let role = if row.role_id.is_empty() { None } else { Some(roles::store::fetch(db, &row.role_id).await?) };
    let mut domain = known(db, row).await?;
    let (role_name, role_domain) = role.map(|role| (role.name, role.domain_id)).unwrap_or_default();
    // nor may a domain's people see or give the roles of another
    if !role_domain.is_empty() && role_domain != domain {
        domain.clear();
    }
    // the system is the cloud's: there rules ask only whether the caller speaks for a domain
    let target = if row.target_kind == "system" { policy::scope(ctx) } else { Target::new().with("domain_id", &domain) };
    ctx.authorize(&target.with("role.name", &role_name))
}

/// The domain of the grant's target, when both its ends exist and, for policy, lie in one domain.
async fn known(db: &impl ConnectionTrait, row: &Model) -> Result<String> {
    let actor_domain = match row.actor_kind.as_str() {
        "group" => groups::store::fetch(db, &row.actor_id).await?.domain_id,
        _ => users::store::fetch(db, &row.actor_id).await?.domain_id,
    };
    let target_domain = target_domain(db, row).await?;
    // a domain's manager may grant inside the domain only
    Ok(if actor_domain == target_domain { target_domain } else { String::new() })
}

/// The domain of what the role is on; empty for the system.
async fn target_domain(db: &impl ConnectionTrait, row: &Model) -> Result<String> {
    match row.target_kind.as_str() {
        "project" => {
            let project = projects::store::fetch(db, &row.target_id).await?;
            Ok(if project.is_domain { project.id } else { project.domain_id })
        }
        "domain" => Ok(projects::store::domain(db, &row.target_id).await?.id),
        _ => Ok(String::new()),
    }
}

fn unknown(row: &Model) -> Error {
    Error::not_found(format!(
        "Could not find role assignment with role: {}, user or group: {}, project, domain or system: {}.",
        row.role_id, row.actor_id, row.target_id
    ))
}
