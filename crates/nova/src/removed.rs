//! APIs that nova once had and that are gone at every version: whoever asks is told so with 410.

use kit::policy::ANY;
use kit::{Context, Error, Kind, Raw, Reply, Result, Routes};

use crate::Nova;

/// Paths, and the methods they had.
const REMOVED: &[(&str, &str)] = &[
    ("/os-agents", "GET POST"),
    ("/os-agents/{id}", "PUT DELETE"),
    ("/os-cells", "GET POST"),
    ("/os-cells/capacities", "GET"),
    ("/os-cells/detail", "GET"),
    ("/os-cells/info", "GET"),
    ("/os-cells/sync_instances", "POST"),
    ("/os-cells/{id}", "GET PUT DELETE"),
    ("/os-cells/{id}/capacities", "GET"),
    ("/os-certificates", "POST"),
    ("/os-certificates/{id}", "GET"),
    ("/os-cloudpipe", "GET POST"),
    ("/os-cloudpipe/{id}", "PUT"),
    ("/os-fixed-ips/{id}", "GET"),
    ("/os-fixed-ips/{id}/action", "POST"),
    ("/os-floating-ip-dns", "GET"),
    ("/os-floating-ip-dns/{id}", "PUT DELETE"),
    ("/os-floating-ip-dns/{id}/entries/{entry}", "GET PUT DELETE"),
    ("/os-floating-ips-bulk", "GET POST"),
    ("/os-floating-ips-bulk/{id}", "GET PUT"),
    ("/os-fping", "GET"),
    ("/os-fping/{id}", "GET"),
    ("/os-networks", "POST"),
    ("/os-networks/add", "POST"),
    ("/os-networks/{id}", "DELETE"),
    ("/os-networks/{id}/action", "POST"),
    ("/os-tenant-networks", "POST"),
    ("/os-tenant-networks/{id}", "DELETE"),
    ("/os-security-group-default-rules", "GET POST"),
    ("/os-security-group-default-rules/{id}", "GET DELETE"),
    ("/servers/{server_id}/consoles", "GET POST"),
    ("/servers/{server_id}/consoles/{id}", "GET DELETE"),
    ("/servers/{server_id}/os-virtual-interfaces", "GET"),
];

pub fn routes() -> Routes<Nova> {
    let mut routes = Routes::new();
    for (path, methods) in REMOVED {
        for method in methods.split(' ') {
            routes = match method {
                "GET" => routes.get(path, ANY, gone),
                "POST" => routes.post(path, ANY, gone),
                "PUT" => routes.put(path, ANY, gone),
                _ => routes.delete(path, ANY, gone),
            };
        }
    }
    routes
}

async fn gone(_: Nova, _: Context, _: Raw) -> Result<Reply> {
    Err(Error::new(Kind::Gone, "This resource is no longer available.  No forwarding address is given."))
}
