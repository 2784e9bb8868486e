//! An endpoint that can be handed out before its service exists: nova calls neutron, and neutron calls nova.

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use kit::service::Service;
use sdk::{Body, Endpoint, LocalService};

/// The place of a service that is still to come.
#[derive(Clone, Default)]
pub struct Late(Arc<OnceLock<Service>>);

impl Late {
    /// An endpoint that leads to whatever will be put here.
    pub fn endpoint(&self, public_url: &str) -> Endpoint {
        Endpoint::local(Arc::new(self.clone()), public_url)
    }

    /// Puts the service in its place.
    pub fn put(&self, service: &Service) {
        // there is one assembly, and it fills each place once
        let _ = self.0.set(service.clone());
    }
}

impl LocalService for Late {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        match self.0.get() {
            Some(service) => LocalService::call(service, request),
            None => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                Box::pin(async move { response })
            }
        }
    }
}
