//! Long actions promised by a process that only serves the API: it tells the conductors, and one of them takes each. What is not heard is
//! found by the conductor that next looks for flows nobody works on.

use std::sync::Arc;
use std::time::Duration;

use kit::flow::TellFn;
use kit::{Error, Kind, Result};
use rpc::conductor::{ReachFlow, RunFlow, TOPIC};
use tokio::time::timeout;

use crate::Nova;

/// How long somebody may wait for a flow to get somewhere.
const PATIENCE: Duration = Duration::from_secs(120);

/// Has a flow of the journal run, by whoever is to, and waits until so many of its steps are done.
pub async fn reach(app: &Nova, flow_id: &str, steps: usize) -> Result<()> {
    if !app.config.conduct {
        return app.bus.call(TOPIC, ReachFlow { flow_id: flow_id.to_owned(), steps }, PATIENCE).await;
    }
    let late = || Error::new(Kind::TimedOut, "What was asked for takes long; it goes on.");
    timeout(PATIENCE, app.flows()?.reach(flow_id, steps)).await.unwrap_or_else(|_| Err(late()))
}

/// A process with an API waits for a long action that it promised.
pub async fn reached(app: &Nova, message: ReachFlow) -> Result<()> {
    app.flows()?.take_and_reach(&message.flow_id, message.steps).await
}

/// Tells the conductors of a flow in the journal.
pub fn tell(app: &Nova) -> TellFn {
    let app = app.clone();
    Arc::new(move |flow_id| {
        let app = app.clone();
        tokio::spawn(async move {
            if let Err(error) = hand_over(&app, &flow_id).await {
                tracing::warn!(flow = flow_id, %error, "no conductor was told; one will look");
            }
        });
    })
}

async fn hand_over(app: &Nova, flow_id: &str) -> Result<()> {
    let Some(instance_id) = app.flows()?.subject(flow_id).await? else { return Ok(()) };
    let admin_password = app.builds.password(&instance_id);
    app.builds.forget(&instance_id);
    app.bus.cast(TOPIC, RunFlow { flow_id: flow_id.to_owned(), instance_id, admin_password }).await
}

/// A process with an API promised a long action.
pub async fn run(app: &Nova, message: RunFlow) -> Result<()> {
    if let Some(password) = &message.admin_password {
        app.builds.keep_password(&message.instance_id, password);
    }
    app.flows()?.take(&message.flow_id).await
}
