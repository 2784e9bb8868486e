//! `/metadefs`: what properties of images, servers, flavors and volumes mean, for people who set them.
//!
//! A namespace holds objects, properties and tags  and names the types of resources it applies to (`resource_types`). A public
//! one is everybody's to read, a private one its project's; only administrators write, by default.

pub mod defaults;
mod fields;
pub mod namespaces;
pub mod objects;
pub mod properties;
pub mod resource_types;
mod store;
pub mod tags;

use kit::policy::Target;
use kit::{Context, Error, Result};
use sea_orm::EntityTrait;

use crate::Glance;
use crate::entity::metadef::namespace::{Entity, Model};
use crate::routes::segment;

/// To whom a namespace belongs, as the rules ask.
fn target(ctx: &Context, row: &Model) -> Target {
    let target = Target::project(&row.owner).with("visibility", &row.visibility);
    match ctx.project_id() {
        Ok(caller) => target.with("caller_id", caller),
        Err(_) => target,
    }
}

/// The namespace of a path, if the caller may see it; 404 otherwise.
async fn seen(app: &Glance, ctx: &Context, name: &str) -> Result<Model> {
    let name = segment(name);
    let missing = || Error::not_found(format!("Metadata definition namespace={name} was not found."));
    let row = Entity::find_by_id(name.clone()).one(app.db.read()).await?.ok_or_else(missing)?;
    if ctx.allows("get_metadef_namespace", &target(ctx, &row)) { Ok(row) } else { Err(missing()) }
}

/// The namespace of a path, if the caller may do this in it: 404 when it is invisible, 403 when it is only somebody else's.
async fn permitted(app: &Glance, ctx: &Context, name: &str, rule: &str) -> Result<Model> {
    let row = seen(app, ctx, name).await?;
    ctx.enforce(rule, &target(ctx, &row))?;
    Ok(row)
}

/// 403 when what is in a protected namespace is to be removed.
fn unprotected(row: &Model, what: &str) -> Result<()> {
    if !row.protected {
        return Ok(());
    }
    Err(Error::forbidden(format!("Metadata definition {what} of namespace={} is protected and cannot be deleted.", row.namespace)))
}
