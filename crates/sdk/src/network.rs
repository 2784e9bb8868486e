//! The calls that Cumulo's parts make to the network API.

use crate::Endpoint;

/// Neutron.
#[derive(Clone)]
pub struct Network(pub Endpoint);

impl Network {
    pub fn new(endpoint: Endpoint) -> Network {
        Network(endpoint)
    }
}
