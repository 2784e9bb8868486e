//! `os-retype`: another type for a volume, which stays where it is if the type allows that, and moves where it may and must. One that
//! is to be encrypted in another way is written anew, where it is if it can stay. The quota of the types changes hands with it.

use http::StatusCode;
use kit::policy::Target;
use kit::{Context, Error, Reply, Result};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};
use serde_json::Value;

use super::{ActiveModel, Change, Column, Entity, Status, Volume, migrate, store};
use crate::capabilities::satisfies;
use crate::quotas::{self, store as quota};
use crate::scheduler::{self, Wish};
use crate::services::Model as Service;
use crate::types::{self, VolumeType, encryption};
use crate::{Cinder, services, snapshots};

pub async fn retype(app: Cinder, ctx: Context, volume: Volume, body: Value) -> Result<Reply> {
    let new = body["new_type"].as_str().filter(|name| !name.is_empty());
    let new = new.ok_or_else(|| Error::bad_request("New volume type must be specified."))?;
    let policy = body["migration_policy"].as_str().unwrap_or("never");
    if !matches!(policy, "never" | "on-demand") {
        return Err(Error::bad_request("migration_policy must be 'on-demand' or 'never', passed: ".to_owned() + policy));
    }
    let kind = types::store::find(app.db().read(), &ctx, new).await?;
    kind.check_size(volume.size)?;
    let old = types::store::fetch(app.db().read(), &volume.type_id).await?;
    check(&volume, &old, &kind)?;
    if kind.multiattach() && !volume.multiattach {
        ctx.enforce("volume:multiattach", &Target::project(&volume.project_id))?;
    }
    let rewritten = encryption::changes(app.db().read(), &old, &kind).await?;
    if kind.multiattach() && encryption::of(app.db().read(), &kind.id).await?.is_some() {
        return Err(Error::bad_request(
            "Invalid input received: Retype requested both encryption and multi-attach, which is not supported.",
        ));
    }
    let services = services::store::volume_hosts(app.db().read()).await?;
    let fits = services.iter().any(|service| Some(&service.host) == volume.host.as_ref() && satisfies(service, &kind.extra_specs.0));
    if fits && !rewritten {
        app.db().write(move |tx| Box::pin(async move { change_type(tx, volume, &old, &kind).await })).await?;
    } else if policy == "never" && fits {
        return Err(store::invalid("Retype requires migration but is not allowed: the volume is to be encrypted in another way."));
    } else if policy == "never" {
        return Err(store::invalid(format!("The type {} asks for what the volume's backend is not, and it may not move.", kind.name)));
    } else {
        let to = match volume.host.clone().filter(|_| fits) {
            Some(host) => host,
            None => elsewhere(&app, &services, &volume, &kind).await?,
        };
        migrate::begin(&app, &ctx, volume, to, false, Some((old, kind))).await?;
    }
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// The host that a volume of the new type goes to.
async fn elsewhere(app: &Cinder, services: &[Service], volume: &Volume, kind: &VolumeType) -> Result<String> {
    let promised = store::promised(app.db().read()).await?;
    let wish = Wish { size: volume.size, zone: &volume.availability_zone, extra_specs: &kind.extra_specs.0, together: &[], apart: &[] };
    let host = scheduler::choose(services, |host| promised.get(host).copied().unwrap_or_default(), &wish);
    host.map(|host| host.host.clone()).map_err(|error| store::invalid(error.message))
}

fn check(volume: &Volume, old: &VolumeType, new: &VolumeType) -> Result<()> {
    if old.id == new.id {
        return Err(Error::bad_request("Invalid input received: New volume type same as original."));
    }
    if let Some(group) = &volume.group_id {
        return Err(store::invalid(format!("Volume {} is in the group {group} and cannot be retyped.", volume.id)));
    }
    if volume.status == Status::InUse {
        if old.qos_id != new.qos_id {
            return Err(Error::bad_request("Invalid input received: Retype cannot change front-end qos specs for in-use volume."));
        }
        if old.multiattach() != new.multiattach() {
            return Err(Error::bad_request(format!(
                "Invalid input received: Invalid volume_type passed, retypes affecting multiattach are only allowed on available volumes, the \
                 specified volume however currently has a status of: {}.",
                volume.status.text()
            )));
        }
    }
    Ok(())
}

/// The data stays as it is, so this is all at once.
async fn change_type(tx: &impl ConnectionTrait, volume: Volume, old: &VolumeType, new: &VolumeType) -> Result<()> {
    store::change_or_refuse(tx, &volume.id, Change::Retype).await?;
    recharge(tx, &volume, old, new).await?;
    become_type(tx, &volume.id, new).await?;
    store::finish(tx, &volume.id, Change::Retyped).await
}

/// What was charged to one type is charged to the other.
pub async fn recharge(tx: &impl ConnectionTrait, volume: &Volume, old: &VolumeType, new: &VolumeType) -> Result<()> {
    release(tx, volume, old).await?;
    quota::charge(tx, &volume.project_id, &charges(tx, volume, new).await?).await
}

/// What was charged to a type for a volume is no more.
pub async fn release(tx: &impl ConnectionTrait, volume: &Volume, kind: &VolumeType) -> Result<()> {
    quota::release(tx, &volume.project_id, &charges(tx, volume, kind).await?).await
}

/// What a volume and its snapshots are charged to a type.
pub async fn charges(tx: &impl ConnectionTrait, volume: &Volume, kind: &VolumeType) -> Result<Vec<quotas::Charge>> {
    let snapshots = snapshots::store::of_volume(tx, &volume.id).await?;
    let all = std::iter::once(quotas::volume(volume.size, &kind.name))
        .chain(snapshots.iter().map(|snapshot| quotas::snapshot(snapshot.size, &kind.name)));
    let of_type = format!("_{}", kind.name);
    Ok(all.flatten().filter(|(key, _)| key.ends_with(&of_type)).collect())
}

/// The volume is of this type from now on.
pub async fn become_type(tx: &impl ConnectionTrait, id: &str, kind: &VolumeType) -> Result<()> {
    let row = ActiveModel { type_id: Set(kind.id.clone()), multiattach: Set(kind.multiattach()), ..Default::default() };
    Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx).await?;
    Ok(())
}
