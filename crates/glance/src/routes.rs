//! The API index.

use kit::Routes;
use kit::policy::{ANY, PUBLIC};

use crate::{Glance, actions, data, images, import, members, root, schemas, tags};

/// Discovery, which needs no token.
pub fn root() -> Routes<Glance> {
    Routes::new().get("/", PUBLIC, root::choices).get("/versions", PUBLIC, root::versions).get("/{unversioned}", PUBLIC, root::choices)
}

#[rustfmt::skip]
pub fn api() -> Routes<Glance> {
    Routes::new()
        .get   ("/images",            "get_images",   images::list)
        .post  ("/images",            "add_image",    images::create)
        .get   ("/images/{image_id}", "get_image",    images::show)
        .patch ("/images/{image_id}", "modify_image", images::update)
        .delete("/images/{image_id}", "delete_image", images::delete)

        .put   ("/images/{image_id}/file",   "upload_image",   data::upload)
        .get   ("/images/{image_id}/file",   "download_image", data::download)
        .put   ("/images/{image_id}/stage",  "modify_image",   import::stage)
        .post  ("/images/{image_id}/import", "modify_image",   import::import)
        .get   ("/images/{image_id}/tasks",  "get_image",      import::tasks)

        .post  ("/images/{image_id}/actions/deactivate", "deactivate", actions::deactivate)
        .post  ("/images/{image_id}/actions/reactivate", "reactivate", actions::reactivate)
        .put   ("/images/{image_id}/tags/{tag}", "modify_image", tags::add)
        .delete("/images/{image_id}/tags/{tag}", "modify_image", tags::delete)

        .get   ("/images/{image_id}/members", ANY, members::list)
        .post  ("/images/{image_id}/members", ANY, members::create)
        .get   ("/images/{image_id}/members/{member_id}", ANY, members::show)
        .put   ("/images/{image_id}/members/{member_id}", ANY, members::update)
        .delete("/images/{image_id}/members/{member_id}", ANY, members::delete)

        .get   ("/info/import", ANY, import::info)
        .get   ("/schemas/image",   ANY, schemas::image)
        .get   ("/schemas/images",  ANY, schemas::images)
        .get   ("/schemas/member",  ANY, schemas::member)
        .get   ("/schemas/members", ANY, schemas::members)
}
