//! Tells nova what became of its servers' ports, through its `os-server-external-events`.

use std::time::Duration;

use kit::auth::ServiceSession;
use sdk::compute::{Compute, ExternalEvent};
use tokio::sync::mpsc;

use crate::ports;

/// Events that may wait; beyond that nova finds out by asking.
const QUEUE: usize = 16_384;
/// Events in one request.
const BATCH: usize = 64;
/// Pauses before an event is tried again.
const RETRY: [Duration; 4] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

#[derive(Clone)]
pub struct Notifier(mpsc::Sender<ExternalEvent>);

pub type Inbox = mpsc::Receiver<ExternalEvent>;

pub fn channel() -> (Notifier, Inbox) {
    let (sender, inbox) = mpsc::channel(QUEUE);
    (Notifier(sender), inbox)
}

impl Notifier {
    pub fn tell(&self, event: ExternalEvent) {
        if let Err(error) = self.0.try_send(event) {
            tracing::error!(%error, "nova will not hear of a port");
        }
    }
}

/// Something happened to a server's port.
pub fn event(name: &str, port: &ports::Model) -> ExternalEvent {
    ExternalEvent { name: name.into(), server_uuid: port.device_id.clone(), status: "completed".into(), tag: Some(port.id.clone()) }
}

/// Delivers events in their order, many at a time when many wait.
pub async fn deliver(compute: Compute, session: ServiceSession, mut inbox: Inbox) {
    let mut events = Vec::with_capacity(BATCH);
    while inbox.recv_many(&mut events, BATCH).await > 0 {
        deliver_batch(&compute, &session, &events).await;
        events.clear();
    }
}

async fn deliver_batch(compute: &Compute, session: &ServiceSession, events: &[ExternalEvent]) {
    for pause in RETRY.iter().map(Some).chain([None]) {
        let outcome = match session.auth(&kit::ids::request()).await {
            Ok(auth) => compute.external_events(&auth, events).await,
            Err(error) => Err(sdk::Error::silent(error.to_string())),
        };
        match (outcome, pause) {
            (Ok(()), _) => return,
            // none of the servers exists (any more)
            (Err(error), _) if error.is_not_found() => return,
            (Err(error), Some(pause)) => {
                tracing::warn!(%error, "nova did not take events of ports; trying again");
                if error.status == 401 {
                    session.renew().await;
                }
                tokio::time::sleep(*pause).await;
            }
            (Err(error), None) => tracing::error!(%error, count = events.len(), "nova did not take events of ports"),
        }
    }
}
