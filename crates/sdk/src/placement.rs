//! The calls that Cumulo's parts make to the placement API.

use crate::Endpoint;

/// Placement.
#[derive(Clone)]
pub struct Placement(pub Endpoint);

impl Placement {
    pub fn new(endpoint: Endpoint) -> Placement {
        Placement(endpoint)
    }
}
