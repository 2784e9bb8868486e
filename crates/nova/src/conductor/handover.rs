//! Long actions promised by a process that only serves the API: it tells the conductors, and one of them takes each. What is not heard is
//! found by the conductor that next looks for flows nobody works on.

use std::sync::Arc;

use kit::Result;
use kit::flow::TellFn;
use rpc::conductor::{RunFlow, TOPIC};

use crate::Nova;

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
