//! The steps a host takes, told to conductor so that a user can read them: collected, and sent a few at a time.

use std::future::Future;

use kit::Result;
use kit::clock::Timestamp;
use rpc::conductor::{self, Event, RecordEvents};

use crate::host::Host;

/// The steps of one action on one instance.
pub struct Timeline {
    host: Host,
    instance_id: String,
    request_id: String,
    events: Vec<Event>,
}

impl Timeline {
    pub fn new(host: &Host, instance_id: &str, request_id: &str) -> Timeline {
        Timeline { host: host.clone(), instance_id: instance_id.to_owned(), request_id: request_id.to_owned(), events: Vec::new() }
    }

    /// Takes a step and notes when it began and ended, and how. `to` is who was asked.
    pub async fn step<T>(&mut self, event: &str, to: &str, step: impl Future<Output = Result<T>>) -> Result<T> {
        let started_at = Timestamp::now().0;
        let outcome = step.await;
        self.events.push(Event {
            event: event.to_owned(),
            from: "nova-compute".to_owned(),
            to: to.to_owned(),
            host: Some(self.host.name().to_owned()),
            started_at,
            finished_at: Some(Timestamp::now().0),
            result: Some(if outcome.is_ok() { "Success" } else { "Error" }.to_owned()),
            details: outcome.as_ref().err().map(|error| error.message.clone()),
        });
        outcome
    }

    /// Sends what was noted. What gets lost here is missed by nobody but the reader of the timeline, so it fails nothing.
    pub async fn send(&mut self) {
        let events = std::mem::take(&mut self.events);
        if events.is_empty() {
            return;
        }
        let message = RecordEvents { instance_id: self.instance_id.clone(), request_id: self.request_id.clone(), events };
        if let Err(error) = self.host.bus.cast(conductor::TOPIC, message).await {
            tracing::warn!(instance = self.instance_id, %error, "steps could not be recorded");
        }
    }
}
