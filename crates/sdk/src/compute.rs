//! The calls that Cumulo's parts make to the compute API.

use crate::Endpoint;

/// Nova.
#[derive(Clone)]
pub struct Compute(pub Endpoint);

impl Compute {
    pub fn new(endpoint: Endpoint) -> Compute {
        Compute(endpoint)
    }
}
