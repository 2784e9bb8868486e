//! The calls that Cumulo's parts make to the volume API.

use crate::Endpoint;

/// Cinder.
#[derive(Clone)]
pub struct Volume(pub Endpoint);

impl Volume {
    pub fn new(endpoint: Endpoint) -> Volume {
        Volume(endpoint)
    }
}
