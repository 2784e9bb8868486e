//! Hypervisors: what runs guests, one for each host, as administrators see it.

pub mod api;
pub mod node;
mod uptime;
mod view;

use kit::Routes;

use crate::Nova;

pub fn routes() -> Routes<Nova> {
    Routes::new()
        .get("/os-hypervisors", "os_compute_api:os-hypervisors:list", api::list)
        .get("/os-hypervisors/detail", "os_compute_api:os-hypervisors:list-detail", api::detail)
        .get("/os-hypervisors/statistics", "os_compute_api:os-hypervisors:statistics", api::statistics)
        .until(2, 87)
        .get("/os-hypervisors/{id}", "os_compute_api:os-hypervisors:show", api::show)
        .get("/os-hypervisors/{id}/uptime", "os_compute_api:os-hypervisors:uptime", uptime::show)
        .until(2, 87)
        .get("/os-hypervisors/{id}/search", "os_compute_api:os-hypervisors:search", api::search)
        .until(2, 52)
        .get("/os-hypervisors/{id}/servers", "os_compute_api:os-hypervisors:list", api::servers)
        .until(2, 52)
}
