//! `rescue` and `unrescue`: the guest boots from another image, with its own disk beside, and back.

use std::collections::BTreeMap;

use kit::{Error, Kind, Reply, Result};
use serde_json::json;

use super::actions::{Action, accepted};
use super::begin;
use super::create::{active_image, password};
use super::instance::ActiveModel;
use super::states::rules;
use super::store;
use crate::conductor::host_task::{HostTask, Work};
use crate::microversions::RESCUE_FROM_VOLUME;
use crate::validate;

/// `{"rescue": {"adminPass": "...", "rescue_image_ref": "..."}}`, or null for both to be chosen.
pub async fn rescue(action: Action) -> Result<Reply> {
    let (given, image) = if action.body.is_null() {
        (None, None)
    } else {
        action.only(&["adminPass", "rescue_image_ref"])?;
        (action.optional("adminPass")?, action.optional("rescue_image_ref")?)
    };
    let image = match image {
        None => None,
        Some(reference) => {
            let id = kit::ids::parse_uuid(validate::id_of(&reference));
            let bad = || validate::invalid("rescue_image_ref", &reference, format!("'{reference}' is not a 'uuid'"));
            let id = id.ok_or_else(bad)?;
            let image = active_image(&action.app, &action.ctx, &id).await.map_err(|error| match error.kind {
                Kind::BadRequest => Error::bad_request(format!("Requested rescue image '{id}' is not supported")),
                _ => error,
            })?;
            Some(image)
        }
    };
    let Action { app, ctx, server, .. } = action;
    rules::RESCUE.check(&server, ctx.is_admin())?;
    begin::host_of(&server)?;
    // a volume has no image of its own to be rescued with, and one that is made for it says how it is put beside the volume
    let can = ctx.speaks(RESCUE_FROM_VOLUME) && image.as_ref().is_some_and(|image| stands_beside(&image.properties()));
    if !can && store::boots_from_volume(app.db.read(), &server.id).await? {
        return Err(Error::bad_request(format!("Instance {} cannot be rescued: Cannot rescue a volume-backed instance", server.id)));
    }
    let password = given.unwrap_or_else(password);
    app.builds.keep_password(&server.id, &password);
    let image = image.map(|image| image.id);
    let told = Some(json!({"rescue_image_ref": image}));
    let task = HostTask::new(ctx.caller(), &server.id, Work::Rescue(image));
    begin::promise_with(&app, &ctx, server, &rules::RESCUE, <ActiveModel as Default>::default(), task, told).await?;
    Reply::ok(&json!({"adminPass": password}))
}

fn stands_beside(properties: &BTreeMap<String, String>) -> bool {
    ["hw_rescue_bus", "hw_rescue_device"].iter().all(|property| properties.contains_key(*property))
}

/// `{"unrescue": null}`
pub async fn unrescue(action: Action) -> Result<Reply> {
    let Action { app, ctx, server, .. } = action;
    let task = HostTask::new(ctx.caller(), &server.id, Work::Unrescue);
    begin::promise(&app, &ctx, server, &rules::UNRESCUE, <ActiveModel as Default>::default(), task).await?;
    Ok(accepted())
}
