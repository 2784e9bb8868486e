//! The API index.

use kit::Routes;
use kit::policy::PUBLIC;

use crate::{Placement, aggregates, allocations, candidates, classes, inventories, providers, reshaper, root, traits, usages};

/// Discovery, which needs no token.
pub fn root() -> Routes<Placement> {
    Routes::new().get("/", PUBLIC, root::versions).get("/placement", PUBLIC, root::versions)
}

#[rustfmt::skip]
pub fn api() -> Routes<Placement> {
    Routes::new()
        .get   ("/resource_providers",        "placement:resource_providers:list",   providers::list)
        .post  ("/resource_providers",        "placement:resource_providers:create", providers::create)
        .get   ("/resource_providers/{uuid}", "placement:resource_providers:show",   providers::show)
        .put   ("/resource_providers/{uuid}", "placement:resource_providers:update", providers::update)
        .delete("/resource_providers/{uuid}", "placement:resource_providers:delete", providers::delete)

        .get   ("/resource_providers/{uuid}/inventories", "placement:resource_providers:inventories:list",   inventories::list)
        .put   ("/resource_providers/{uuid}/inventories", "placement:resource_providers:inventories:update", inventories::replace)
        .post  ("/resource_providers/{uuid}/inventories", "placement:resource_providers:inventories:create", inventories::create)
        .delete("/resource_providers/{uuid}/inventories", "placement:resource_providers:inventories:delete", inventories::clear).since(1, 5)
        .get   ("/resource_providers/{uuid}/inventories/{class}", "placement:resource_providers:inventories:show",   inventories::show)
        .put   ("/resource_providers/{uuid}/inventories/{class}", "placement:resource_providers:inventories:update", inventories::update)
        .delete("/resource_providers/{uuid}/inventories/{class}", "placement:resource_providers:inventories:delete", inventories::delete)

        .get   ("/resource_providers/{uuid}/aggregates", "placement:resource_providers:aggregates:list",   aggregates::list).since(1, 1)
        .put   ("/resource_providers/{uuid}/aggregates", "placement:resource_providers:aggregates:update", aggregates::replace).since(1, 1)
        .get   ("/resource_providers/{uuid}/traits", "placement:resource_providers:traits:list",   traits::of_provider).since(1, 6)
        .put   ("/resource_providers/{uuid}/traits", "placement:resource_providers:traits:update", traits::replace).since(1, 6)
        .delete("/resource_providers/{uuid}/traits", "placement:resource_providers:traits:delete", traits::clear).since(1, 6)
        .get   ("/resource_providers/{uuid}/usages", "placement:resource_providers:usages", usages::of_provider)
        .get   ("/resource_providers/{uuid}/allocations", "placement:resource_providers:allocations:list", allocations::of_provider)

        .post  ("/allocations",                 "placement:allocations:manage", allocations::manage).since(1, 13)
        .get   ("/allocations/{consumer_uuid}", "placement:allocations:list",   allocations::show)
        .put   ("/allocations/{consumer_uuid}", "placement:allocations:update", allocations::update)
        .delete("/allocations/{consumer_uuid}", "placement:allocations:delete", allocations::delete)
        .get   ("/allocation_candidates", "placement:allocation_candidates:list", candidates::list).since(1, 10)

        .get   ("/resource_classes",        "placement:resource_classes:list",   classes::list).since(1, 2)
        .post  ("/resource_classes",        "placement:resource_classes:create", classes::create).since(1, 2)
        .get   ("/resource_classes/{name}", "placement:resource_classes:show",   classes::show).since(1, 2)
        .put   ("/resource_classes/{name}", "placement:resource_classes:update", classes::update).since(1, 2)
        .delete("/resource_classes/{name}", "placement:resource_classes:delete", classes::delete).since(1, 2)

        .get   ("/traits",        "placement:traits:list",   traits::list).since(1, 6)
        .get   ("/traits/{name}", "placement:traits:show",   traits::show).since(1, 6)
        .put   ("/traits/{name}", "placement:traits:update", traits::create).since(1, 6)
        .delete("/traits/{name}", "placement:traits:delete", traits::delete).since(1, 6)

        .get   ("/usages",   "placement:usages",            usages::total).since(1, 9)
        .post  ("/reshaper", "placement:reshaper:reshape",  reshaper::reshape).since(1, 30).limit(16 << 20)
}
