//! Events on their way into the database: gathered from everybody, written many at a time, because a boot has some thirty of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kit::Result;
use kit::clock::Timestamp;
use kit::db::Db;
use rpc::conductor::Event;
use sea_orm::EntityTrait;
use sea_orm::sea_query::OnConflict;

use super::event::{ActiveModel, Column, Entity, Model};

/// Events held before they are written without being asked to.
const FULL: usize = 4096;
/// Rows of one statement.
const CHUNK: usize = 200;

type Key = (String, String, String, i64);

/// The events not yet written.
#[derive(Default)]
pub struct EventLog {
    waiting: Mutex<HashMap<Key, Model>>,
}

impl EventLog {
    /// Remembers some events of an action. When far too many wait, the newest are dropped: they tell, they do not decide.
    pub fn push(&self, instance_id: &str, request_id: &str, events: impl IntoIterator<Item = Event>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if waiting.len() >= FULL * 4 {
                return;
            }
            let row = row(instance_id, request_id, event);
            waiting.insert((row.instance_id.clone(), row.request_id.clone(), row.event.clone(), row.started_at.0), row);
        }
    }

    /// Writes what waits.
    pub async fn flush(&self, db: &Db) -> Result<()> {
        let rows: Vec<Model> = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.drain().map(|(_, row)| row).collect()
        };
        if rows.is_empty() {
            return Ok(());
        }
        db.write(move |tx| {
            Box::pin(async move {
                for some in rows.chunks(CHUNK) {
                    let latest = OnConflict::columns([Column::InstanceId, Column::RequestId, Column::Event, Column::StartedAt])
                        .update_columns([Column::FinishedAt, Column::Result, Column::Details])
                        .to_owned();
                    let rows = some.iter().cloned().map(ActiveModel::from);
                    Entity::insert_many(rows).on_conflict(latest).exec_without_returning(tx).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

fn row(instance_id: &str, request_id: &str, event: Event) -> Model {
    Model {
        instance_id: instance_id.to_owned(),
        request_id: request_id.to_owned(),
        event: event.event,
        event_from: event.from,
        event_to: event.to,
        host: event.host,
        started_at: Timestamp(event.started_at),
        finished_at: event.finished_at.map(Timestamp),
        result: event.result,
        details: event.details,
    }
}

/// A step between two parties, from its beginning.
pub struct Span {
    event: &'static str,
    from: &'static str,
    to: &'static str,
    started: Timestamp,
}

impl Span {
    pub fn begin(event: &'static str, from: &'static str, to: &'static str) -> Span {
        Span { event, from, to, started: Timestamp::now() }
    }

    /// One that began earlier.
    pub fn since(event: &'static str, from: &'static str, to: &'static str, started: Timestamp) -> Span {
        Span { event, from, to, started }
    }

    /// The step ends now.
    pub fn end(self, failure: Option<String>) -> Event {
        Event {
            event: self.event.into(),
            from: self.from.into(),
            to: self.to.into(),
            host: None,
            started_at: self.started.0,
            finished_at: Some(Timestamp::now().0),
            result: Some(if failure.is_some() { "Error" } else { "Success" }.into()),
            details: failure,
        }
    }

    /// The step ends now, as well as what it did.
    pub fn ended<T>(self, outcome: &Result<T>) -> Event {
        self.end(outcome.as_ref().err().map(|error| error.message.clone()))
    }

    /// The step ended well some time ago.
    pub fn done_at(self, finished: Timestamp) -> Event {
        Event { finished_at: Some(finished.0), ..self.end(None) }
    }

    /// The step ends well, and there is something to say about it.
    pub fn done(self, details: Option<String>) -> Event {
        Event { details, ..self.end(None) }
    }
}
