//! What an operator changed of who may do what: `STATE_DIR/policy/SERVICE.yaml` for each service, read at the start and whenever it
//! changes.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use kit::service::Service;
use tokio_util::sync::CancellationToken;

use super::assemble::Services;
use crate::apis::PUBLIC;
use crate::state::StateDir;

/// How soon a change counts.
const PERIOD: Duration = Duration::from_secs(1);

/// Reads every service's file, and again when it changes until `stop`. A wrong file refuses the start; later it is named in the log and
/// the rules stay as they were.
pub fn watch(state: &StateDir, services: &Services, stop: &CancellationToken) -> Result<(), String> {
    let mut files = Vec::new();
    for (name, service) in PUBLIC.iter().filter_map(|(name, api)| Some((name, services.get(*api)?))) {
        let path = state.join("policy").join(format!("{name}.yaml"));
        let mut file = File { path, service: service.clone(), changed: None };
        file.look().map_err(|error| format!("{}: {error}.", file.path.display()))?;
        files.push(file);
    }
    let files = std::sync::Arc::new(tokio::sync::Mutex::new(files));
    kit::reconcile::every("policy files", PERIOD, stop.clone(), move || {
        let files = files.clone();
        async move {
            for file in files.lock().await.iter_mut() {
                if let Err(error) = file.look() {
                    tracing::warn!(path = %file.path.display(), %error, "the policy stays as it was");
                }
            }
            Ok(())
        }
    });
    Ok(())
}

struct File {
    path: PathBuf,
    service: Service,
    changed: Option<SystemTime>,
}

impl File {
    /// One `stat`, and a small file read when it is new.
    fn look(&mut self) -> Result<(), String> {
        let changed = std::fs::metadata(&self.path).and_then(|data| data.modified()).ok();
        if changed == self.changed {
            return Ok(());
        }
        self.changed = changed;
        let text = match changed {
            Some(_) => std::fs::read_to_string(&self.path).map_err(|error| error.to_string())?,
            None => String::new(),
        };
        self.service.override_policy(&text).map_err(|error| error.message)
    }
}
