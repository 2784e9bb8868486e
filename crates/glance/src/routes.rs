//! The API index.

use kit::Routes;
use kit::policy::{ANY, PUBLIC};

use crate::metadefs::{namespaces, objects, properties, resource_types, tags as metadef_tags};
use crate::{Glance, actions, cache, data, images, import, members, quota, root, schemas, stores, tags, tasks};

/// Discovery, which needs no token.
pub fn root() -> Routes<Glance> {
    Routes::new().get("/", PUBLIC, root::choices).get("/versions", PUBLIC, root::versions).get("/{unversioned}", PUBLIC, root::choices)
}

#[rustfmt::skip]
pub fn api() -> Routes<Glance> {
    // `/images/` is an image without an id, not the list; HEAD is refused
    Routes::new().exact().headless()
        .get   ("/images",            "get_images",   images::list).kept()
        .post  ("/images",            "add_image",    images::create)
        .get   ("/images/{image_id}", "get_image",    images::show).kept()
        .patch ("/images/{image_id}", "modify_image", images::update)
        .delete("/images/{image_id}", "delete_image", images::delete)

        .put   ("/images/{image_id}/file",   "upload_image",   data::upload)
        .get   ("/images/{image_id}/file",   "download_image", data::download)
        .put   ("/images/{image_id}/stage",  "modify_image",   import::stage)
        .post  ("/images/{image_id}/import", "modify_image",   import::import)
        .get   ("/images/{image_id}/tasks",  "get_image",      tasks::of_image)
        .get   ("/images/{image_id}/locations", "fetch_image_location", import::list_locations)
        .post  ("/images/{image_id}/locations", "add_image_location",   import::add_location)

        .post  ("/images/{image_id}/actions/deactivate", "deactivate", actions::deactivate)
        .post  ("/images/{image_id}/actions/reactivate", "reactivate", actions::reactivate)
        .put   ("/images/{image_id}/tags/{tag}", "modify_image", tags::add)
        .delete("/images/{image_id}/tags/{tag}", "modify_image", tags::delete)

        .get   ("/images/{image_id}/members", ANY, members::list).kept()
        .post  ("/images/{image_id}/members", ANY, members::create)
        .get   ("/images/{image_id}/members/{member_id}", ANY, members::show)
        .put   ("/images/{image_id}/members/{member_id}", ANY, members::update)
        .delete("/images/{image_id}/members/{member_id}", ANY, members::delete)

        .get   ("/info/import", ANY, import::info)
        .get   ("/info/stores", ANY, stores::info::list)
        .get   ("/info/stores/detail", "stores_info_detail", stores::info::detail)
        .get   ("/info/usage", ANY, quota::info)
        .delete("/stores/{store_id}/{image_id}", "delete_image_location", stores::delete)

        .get   ("/cache", "cache_list", cache::list)
        .delete("/cache", "cache_delete", cache::clear)
        .put   ("/cache/{image_id}", "cache_image", cache::queue)
        .delete("/cache/{image_id}", "cache_delete", cache::delete)

        .get   ("/tasks", "tasks_api_access", tasks::list)
        .post  ("/tasks", "tasks_api_access", tasks::create)
        .get   ("/tasks/{task_id}", "tasks_api_access", tasks::show)

        .get   ("/schemas/image",   ANY, schemas::image)
        .get   ("/schemas/images",  ANY, schemas::images)
        .get   ("/schemas/member",  ANY, schemas::member)
        .get   ("/schemas/members", ANY, schemas::members)
        .get   ("/schemas/task",    ANY, schemas::tasks::task)
        .get   ("/schemas/tasks",   ANY, schemas::tasks::tasks)
        .get   ("/schemas/metadefs/{name}", ANY, schemas::metadefs::show)
        .merge(metadefs())
}

#[rustfmt::skip]
fn metadefs() -> Routes<Glance> {
    Routes::new()
        .get   ("/metadefs/resource_types",         "list_metadef_resource_types", resource_types::list)
        .get   ("/metadefs/namespaces",             "get_metadef_namespaces",      namespaces::list)
        .post  ("/metadefs/namespaces",             "add_metadef_namespace",       namespaces::create)
        .get   ("/metadefs/namespaces/{namespace}", ANY, namespaces::show)
        .put   ("/metadefs/namespaces/{namespace}", "modify_metadef_namespace",    namespaces::update)
        .delete("/metadefs/namespaces/{namespace}", "delete_metadef_namespace",    namespaces::delete)

        .get   ("/metadefs/namespaces/{namespace}/resource_types", "get_metadef_resource_type", resource_types::of_namespace)
        .post  ("/metadefs/namespaces/{namespace}/resource_types", "add_metadef_resource_type_association", resource_types::associate)
        .delete("/metadefs/namespaces/{namespace}/resource_types/{name}", "remove_metadef_resource_type_association", resource_types::dissociate)

        .get   ("/metadefs/namespaces/{namespace}/objects",        "get_metadef_objects",   objects::list)
        .post  ("/metadefs/namespaces/{namespace}/objects",        "add_metadef_object",    objects::create)
        .delete("/metadefs/namespaces/{namespace}/objects",        "delete_metadef_object", objects::clear)
        .get   ("/metadefs/namespaces/{namespace}/objects/{name}", "get_metadef_object",    objects::show)
        .put   ("/metadefs/namespaces/{namespace}/objects/{name}", "modify_metadef_object", objects::update)
        .delete("/metadefs/namespaces/{namespace}/objects/{name}", "delete_metadef_object", objects::delete)

        .get   ("/metadefs/namespaces/{namespace}/properties",        "get_metadef_properties",  properties::list)
        .post  ("/metadefs/namespaces/{namespace}/properties",        "add_metadef_property",    properties::create)
        .delete("/metadefs/namespaces/{namespace}/properties",        "remove_metadef_property", properties::clear)
        .get   ("/metadefs/namespaces/{namespace}/properties/{name}", "get_metadef_property",    properties::show)
        .put   ("/metadefs/namespaces/{namespace}/properties/{name}", "modify_metadef_property", properties::update)
        .delete("/metadefs/namespaces/{namespace}/properties/{name}", "remove_metadef_property", properties::delete)

        .get   ("/metadefs/namespaces/{namespace}/tags",        "get_metadef_tags",    metadef_tags::list)
        .post  ("/metadefs/namespaces/{namespace}/tags",        "add_metadef_tags",    metadef_tags::replace)
        .delete("/metadefs/namespaces/{namespace}/tags",        "delete_metadef_tags", metadef_tags::clear)
        .get   ("/metadefs/namespaces/{namespace}/tags/{name}", "get_metadef_tag",     metadef_tags::show)
        .post  ("/metadefs/namespaces/{namespace}/tags/{name}", "add_metadef_tag",     metadef_tags::create)
        .put   ("/metadefs/namespaces/{namespace}/tags/{name}", "modify_metadef_tag",  metadef_tags::update)
        .delete("/metadefs/namespaces/{namespace}/tags/{name}", "delete_metadef_tag",  metadef_tags::delete)
}

/// A part of a path as it was before the client encoded it; a plus is a plus there.
pub fn segment(text: &str) -> String {
    kit::call::percent_decode(&text.replace('+', "%2B"))
}
