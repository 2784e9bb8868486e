//! The old proxies: clients of former days ask nova for images, networks, addresses, security groups and volumes, and nova asks the
//! neighbour with their token. Since 2.36 (metadata of images: 2.39) they are not found any more. One file for each neighbour's thing; each
//! only translates, the neighbour checks and decides.

mod floating_ips;
mod image_metadata;
mod images;
mod networks;
mod security_group_rules;
mod security_groups;
mod snapshots;
mod volumes;

use kit::policy::ANY;
use kit::{Context, Error, Kind, Path, Reply, Result, Routes};
use serde_json::Value;

use crate::Nova;

#[rustfmt::skip]
pub fn routes() -> Routes<Nova> {
    let networks = [
        ("/os-networks", "/os-networks/{id}", "os_compute_api:os-networks:list", "os_compute_api:os-networks:show"),
        ("/os-tenant-networks", "/os-tenant-networks/{id}", "os_compute_api:os-tenant-networks:list", "os_compute_api:os-tenant-networks:show"),
    ];
    let mut routes = Routes::new();
    for (all, one, list, show) in networks {
        routes = routes.get(all, list, networks::list).until(2, 35).get(one, show, networks::show).until(2, 35);
    }
    routes
        .get   ("/images",        ANY, images::list).until(2, 35)
        .get   ("/images/detail", ANY, images::detail).until(2, 35)
        .get   ("/images/{id}",   ANY, images::show).until(2, 35)
        .delete("/images/{id}",   ANY, images::delete).until(2, 35)
        .get   ("/images/{id}/metadata",       ANY, image_metadata::list).until(2, 38)
        .post  ("/images/{id}/metadata",       ANY, image_metadata::merge).until(2, 38)
        .put   ("/images/{id}/metadata",       ANY, image_metadata::replace).until(2, 38)
        .get   ("/images/{id}/metadata/{key}", ANY, image_metadata::show).until(2, 38)
        .put   ("/images/{id}/metadata/{key}", ANY, image_metadata::update).until(2, 38)
        .delete("/images/{id}/metadata/{key}", ANY, image_metadata::delete).until(2, 38)

        .get   ("/os-floating-ip-pools",  "os_compute_api:os-floating-ip-pools",   floating_ips::pools).until(2, 35)
        .get   ("/os-floating-ips",       "os_compute_api:os-floating-ips:list",   floating_ips::list).until(2, 35)
        .post  ("/os-floating-ips",       "os_compute_api:os-floating-ips:create", floating_ips::create).until(2, 35)
        .get   ("/os-floating-ips/{id}",  "os_compute_api:os-floating-ips:show",   floating_ips::show).until(2, 35)
        .delete("/os-floating-ips/{id}",  "os_compute_api:os-floating-ips:delete", floating_ips::delete).until(2, 35)

        .get   ("/os-security-groups",           "os_compute_api:os-security-groups:get",    security_groups::list).until(2, 35)
        .post  ("/os-security-groups",           "os_compute_api:os-security-groups:create", security_groups::create).until(2, 35)
        .get   ("/os-security-groups/{id}",      "os_compute_api:os-security-groups:show",   security_groups::show).until(2, 35)
        .put   ("/os-security-groups/{id}",      "os_compute_api:os-security-groups:update", security_groups::update).until(2, 35)
        .delete("/os-security-groups/{id}",      "os_compute_api:os-security-groups:delete", security_groups::delete).until(2, 35)
        .post  ("/os-security-group-rules",      "os_compute_api:os-security-groups:rule:create", security_group_rules::create).until(2, 35)
        .delete("/os-security-group-rules/{id}", "os_compute_api:os-security-groups:rule:delete", security_group_rules::delete).until(2, 35)

        .get   ("/os-volumes",          "os_compute_api:os-volumes:list",   volumes::list).until(2, 35)
        .post  ("/os-volumes",          "os_compute_api:os-volumes:create", volumes::create).until(2, 35)
        .get   ("/os-volumes/detail",   "os_compute_api:os-volumes:detail", volumes::list).until(2, 35)
        .get   ("/os-volumes/{id}",     "os_compute_api:os-volumes:show",   volumes::show).until(2, 35)
        .delete("/os-volumes/{id}",     "os_compute_api:os-volumes:delete", volumes::delete).until(2, 35)
        .get   ("/os-snapshots",        "os_compute_api:os-volumes:snapshots:list",   snapshots::list).until(2, 35)
        .post  ("/os-snapshots",        "os_compute_api:os-volumes:snapshots:create", snapshots::create).until(2, 35)
        .get   ("/os-snapshots/detail", "os_compute_api:os-volumes:snapshots:detail", snapshots::list).until(2, 35)
        .get   ("/os-snapshots/{id}",   "os_compute_api:os-volumes:snapshots:show",   snapshots::show).until(2, 35)
        .delete("/os-snapshots/{id}",   "os_compute_api:os-volumes:snapshots:delete", snapshots::delete).until(2, 35)

        .get   ("/os-baremetal-nodes",      "os_compute_api:os-baremetal-nodes:list", no_ironic).until(2, 35)
        .get   ("/os-baremetal-nodes/{id}", "os_compute_api:os-baremetal-nodes:show", no_ironic_node).until(2, 35)
}

async fn no_ironic(_: Nova, _: Context) -> Result<Reply> {
    Err(Error::new(Kind::NotImplemented, "Ironic client unavailable, cannot access Ironic."))
}

async fn no_ironic_node(app: Nova, ctx: Context, _: Path<String>) -> Result<Reply> {
    no_ironic(app, ctx).await
}

/// 202 without a body.
fn accepted() -> Reply {
    Reply::empty(http::StatusCode::ACCEPTED)
}

/// The thing a neighbour answers under `key`; 404 in these words when it has none.
fn one(answer: sdk::Result<sdk::Answer>, key: &str, missing: impl FnOnce() -> String) -> Result<Value> {
    match sdk::found(answer)? {
        Some(answer) => Ok(answer.take(key)?),
        None => Err(Error::not_found(missing())),
    }
}

/// The same for a deletion, which answers nothing.
fn gone(answer: sdk::Result<sdk::Answer>, missing: impl FnOnce() -> String) -> Result<()> {
    sdk::found(answer)?.map(drop).ok_or_else(|| Error::not_found(missing()))
}

/// What neutron calls a conflict of a security group was always a bad request here.
fn as_bad_request<T>(answer: sdk::Result<T>) -> sdk::Result<T> {
    answer.map_err(|error| if error.is_conflict() { sdk::Error { status: 400, ..error } } else { error })
}

/// The id of a security group, which is a UUID.
fn group_id(id: &str) -> Result<&str> {
    match kit::ids::parse_uuid(id) {
        Some(_) => Ok(id),
        None => Err(Error::bad_request("Security group id should be uuid")),
    }
}

/// A page of what the neighbour answered whole: `limit` and `offset`.
fn paged(app: &Nova, query: &kit::Query, rows: Vec<Value>) -> Result<Vec<Value>> {
    let page = kit::collection::Page::parse(query, app.config.max_limit, app.config.max_limit)?;
    let whole = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Ok(rows.into_iter().skip(whole(page.offset)).take(whole(page.limit)).collect())
}
