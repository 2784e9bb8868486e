//! The calls that Cumulo's parts make to the image API.

use crate::Endpoint;

/// Glance.
#[derive(Clone)]
pub struct Image(pub Endpoint);

impl Image {
    pub fn new(endpoint: Endpoint) -> Image {
        Image(endpoint)
    }
}
