//! `/images`: what an image is, and who may do what with it.

mod api;
mod fields;
mod list;
mod patch;
mod pending;
mod places;
pub mod store;
mod view;

pub use api::{create, delete, read, show, update};
pub use fields::{CONTAINER_FORMATS, DISK_FORMATS, NAME, QUOTA, is_text};
pub use list::list;
pub use pending::{restore, scrub};

use std::collections::{BTreeMap, BTreeSet};

use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Result};

use crate::Glance;
use crate::entity::{Status, Visibility, image, location};
use crate::fault::{no_image, not_yours};

/// An image: its row, its custom properties, its tags, and where its bytes are.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub row: image::Model,
    pub properties: BTreeMap<String, String>,
    pub tags: BTreeSet<String>,
    pub locations: Vec<location::Model>,
}

impl Image {
    /// A queued image that has nothing yet.
    pub fn new(id: String, owner: String) -> Image {
        let now = Timestamp::now();
        let row = image::Model {
            id,
            name: None,
            status: Status::Queued,
            visibility: Visibility::Shared,
            protected: false,
            os_hidden: false,
            owner,
            container_format: None,
            disk_format: None,
            min_disk: 0,
            min_ram: 0,
            size: None,
            virtual_size: None,
            checksum: None,
            os_hash_algo: None,
            os_hash_value: None,
            registered_from: None,
            created_at: now,
            updated_at: now,
        };
        Image { row, properties: BTreeMap::new(), tags: BTreeSet::new(), locations: Vec::new() }
    }
}

/// Whose the image is, as the rules ask.
pub fn target(ctx: &Context, row: &image::Model) -> Target {
    let target = Target::project(&row.owner).with("owner", &row.owner).with("visibility", row.visibility.as_str());
    match ctx.project_id() {
        Ok(caller) => target.with("caller_id", caller),
        Err(_) => target,
    }
}

/// The image, if the caller may see it; 404 otherwise. With it, the target that its rules are asked about.
pub async fn seen(app: &Glance, ctx: &Context, id: &str) -> Result<(Image, Target)> {
    let image = store::fetch(app.db.read(), id).await?.ok_or_else(|| no_image(id))?;
    let mut target = target(ctx, &image.row);
    if image.row.visibility == Visibility::Shared
        && let Ok(caller) = ctx.project_id()
        && store::is_member(app.db.read(), id, caller).await?
    {
        target = target.with("member_id", caller);
    }
    if ctx.allows("get_image", &target) { Ok((image, target)) } else { Err(no_image(id)) }
}

/// The image, if the caller may do this with it: 404 when it is invisible, 403 when it is only somebody else's.
pub async fn permitted(app: &Glance, ctx: &Context, id: &str, rule: &str) -> Result<Image> {
    let (image, target) = seen(app, ctx, id).await?;
    if ctx.allows(rule, &target) {
        return Ok(image);
    }
    Err(not_yours(rule))
}
