//! `/os-simple-tenant-usage`: how long a project's servers lived in a period, and what they took meanwhile.

mod account;
mod api;

use kit::Routes;

use crate::Nova;

pub fn routes() -> Routes<Nova> {
    Routes::new()
        .get("/os-simple-tenant-usage", "os_compute_api:os-simple-tenant-usage:list", api::list)
        .get("/os-simple-tenant-usage/{project_id}", "os_compute_api:os-simple-tenant-usage:show", api::show)
        .deferred()
}
