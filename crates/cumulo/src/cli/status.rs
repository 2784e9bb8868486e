//! `cumulo status`: does every API answer?

use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use sdk::{Auth, Body, Endpoint};

use super::{api, say};
use crate::apis::PUBLIC;
use crate::state::StateDir;

const PATIENCE: Duration = Duration::from_secs(5);

pub fn status(state: &StateDir) -> Result<ExitCode, String> {
    if state.running().is_none() {
        say(&format!("The cloud in {} is not running.", state.path().display()));
        return Ok(ExitCode::FAILURE);
    }
    let config = state.effective()?;
    api::block_on(async {
        let mut healthy = true;
        for (name, api) in PUBLIC {
            let url = config.endpoint(api);
            let answers = answers(config.connect(api, "")?).await;
            healthy &= answers;
            say(&format!("{name:<10} {url:<28} {}", if answers { "answers" } else { "does not answer" }));
        }
        Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Discovery needs no token and touches nothing.
async fn answers(endpoint: Endpoint) -> bool {
    let discovery = endpoint.send(Method::GET, "/", Auth::nobody().headers(), Body::empty());
    matches!(tokio::time::timeout(PATIENCE, discovery).await, Ok(Ok(response)) if response.status().as_u16() <= 300)
}
