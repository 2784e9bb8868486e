//! Changes of `locations` in a patch, where the operator lets clients see where images are (`show_multiple_locations`). What is added to
//! a queued image is fetched from the web and checked, as `POST /images/{id}/locations` does it; what is removed is one copy of several.

use kit::{Context, Error, Result};
use serde::Deserialize;
use serde_json::Value;

use super::patch::Op;
use super::permitted;
use crate::entity::Status;
use crate::import::{Location, add_to};
use crate::{Glance, stores};

const KEY: &str = "locations";

/// The changes of locations, and all others.
pub fn split(changes: Vec<Op>) -> (Vec<Op>, Vec<Op>) {
    changes.into_iter().partition(|change| change.path().first().is_some_and(|key| key == KEY))
}

/// Makes the change of a patch that changes one location, and nothing beside it: what follows from it cannot be taken back.
pub async fn change(app: &Glance, ctx: &Context, id: &str, changes: &[Op], others: &[Op]) -> Result<()> {
    let ([change], []) = (changes, others) else {
        return Err(Error::bad_request("A patch that changes a location changes one, and nothing beside it."));
    };
    if let Op::Replace(_, value) = change
        && value.as_array().is_some_and(Vec::is_empty)
    {
        return Err(Error::forbidden("Cannot set locations to empty list."));
    }
    let (verb, rule) = match change {
        Op::Add(..) => ("add", "set_image_location"),
        Op::Replace(..) => ("replace", "set_image_location"),
        Op::Remove(_) => ("remove", "delete_image_location"),
    };
    let image = permitted(app, ctx, id, rule).await?;
    if !app.settings.show_multiple_locations {
        let verb = if verb == "replace" { "update" } else { verb };
        return Err(Error::forbidden(format!("It's not allowed to {verb} locations if locations are invisible.")));
    }
    let now = image.row.status;
    let refused = || Error::conflict(format!("It's not allowed to {verb} locations if image status is {}.", now.as_str()));
    match change {
        Op::Add(path, value) => match now {
            Status::Queued => {
                position(path, 0)?;
                add_to(app, ctx, image, read(value)?).await
            }
            Status::Active => Err(more()),
            Status::Saving | Status::Uploading | Status::Importing | Status::Deactivated => Err(refused()),
        },
        Op::Replace(path, value) => {
            let list = value.as_array().filter(|_| path.len() == 1);
            let list = list.ok_or_else(|| Error::bad_request("Invalid locations: they are replaced as a list."))?;
            match (now, list.as_slice()) {
                (Status::Queued, [one]) => add_to(app, ctx, image, read(one)?).await,
                (Status::Queued | Status::Active, _) => Err(more()),
                (Status::Saving | Status::Uploading | Status::Importing | Status::Deactivated, _) => Err(refused()),
            }
        }
        Op::Remove(path) => match now {
            Status::Active => {
                let index = position(path, image.locations.len())?;
                let places = app.stores.order(&image.locations);
                let place = index.and_then(|index| places.get(index)).map(|(_, location)| (*location).clone());
                let place = place.ok_or_else(|| Error::bad_request("Invalid position for removing a location."))?;
                stores::take_away(app, place, "Cannot remove last location in the image.").await
            }
            Status::Queued | Status::Saving | Status::Uploading | Status::Importing | Status::Deactivated => Err(refused()),
        },
    }
}

/// `/locations/0` or `/locations/-`, the end, of so many.
fn position(path: &[String], count: usize) -> Result<Option<usize>> {
    let invalid = || Error::bad_request("Invalid position: it must be the number of a location, or \"-\".");
    match path {
        [_, last] if last == "-" => Ok(count.checked_sub(1)),
        [_, number] => Ok(Some(number.parse().map_err(|_| invalid())?)),
        _ => Err(invalid()),
    }
}

fn read(value: &Value) -> Result<Location> {
    if !value.get("metadata").is_some_and(Value::is_object) {
        return Err(Error::bad_request("Invalid location: 'metadata' is a required property."));
    }
    let location = Location::deserialize(value).map_err(|error| Error::bad_request(format!("Invalid location: {error}")))?;
    // of hashes that cannot be, glance says here that they are in conflict
    location.check().map_err(|error| Error::conflict(error.message))?;
    Ok(location)
}

fn more() -> Error {
    Error::bad_request("Invalid location: an image that has its data gets more copies by the import method copy-image.")
}
