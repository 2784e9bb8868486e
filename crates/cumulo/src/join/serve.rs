//! What a controller answers to a machine that joins. It needs no login: the answer is sealed with the token's key.

use std::path::PathBuf;
use std::sync::Arc;

use fernet::Fernet;
use kit::policy::{PUBLIC, Policy};
use kit::routes::Routes;
use kit::service::{FaultContext, Service, ServiceParts};
use kit::{Context, Error, Path, Reply, Result};

use super::{Welcome, take};
use crate::config::Config;
use crate::state::Secrets;

#[derive(Clone)]
struct App(Arc<Controller>);

struct Controller {
    shared: PathBuf,
    config: Config,
    secrets: Secrets,
}

/// The API with its one path.
pub fn service(shared: PathBuf, config: &Config, secrets: &Secrets) -> Result<Service> {
    Service::new(ServiceParts {
        name: "cumulo-join",
        app: App(Arc::new(Controller { shared, config: config.clone(), secrets: secrets.clone() })),
        root: Routes::new().get("/join/{id}", PUBLIC, welcome),
        routes: Routes::new(),
        mounts: &[],
        project_segment: false,
        json_suffix: false,
        versions: None,
        policy: Policy::default(),
        db: None,
        authenticator: None,
        fault,
    })
}

async fn welcome(app: App, _ctx: Context, Path(id): Path<String>) -> Result<Reply> {
    let sealed = tokio::task::spawn_blocking(move || app.0.welcome(&id)).await.map_err(Error::internal)??;
    Ok(Reply::body("text/plain; charset=UTF-8", sealed))
}

impl Controller {
    fn welcome(&self, id: &str) -> Result<String> {
        let plain = id.chars().all(|c| c.is_ascii_alphanumeric());
        let invitation = plain.then(|| take(&self.shared, id)).flatten();
        let invitation = invitation.ok_or_else(|| Error::not_found("There is no such invitation; it may be used or too old."))?;
        let welcome = Welcome::new(&self.config, &self.secrets, &invitation).map_err(Error::internal)?;
        let seal = Fernet::new(&invitation.key).ok_or_else(|| Error::internal("the invitation has no key"))?;
        tracing::info!(host = invitation.host, "a host joins");
        Ok(seal.encrypt(&serde_json::to_vec(&welcome)?))
    }
}

fn fault(error: &Error, _context: &FaultContext<'_>) -> Reply {
    Reply::body("text/plain; charset=UTF-8", error.message.clone()).status(error.kind.status())
}
