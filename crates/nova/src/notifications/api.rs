//! `GET /cumulo/v1/events`: notifications as server-sent events, for dashboards and scripts.
//!
//! A token's project hears of its own servers; an administrator may ask for `all_projects`. Each event has the number of its notification, so
//! that a client which comes back with `Last-Event-ID` misses nothing that is still kept; when something is no longer kept it is told so with
//! an event `missed`. A stream ends after a while, so that a token that was revoked meanwhile is noticed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use kit::call::Raw;
use kit::clock::Timestamp;
use kit::policy::Target;
use kit::{Context, Error, Query, Reply, Result};
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use tokio::time::{Instant, timeout};

use super::feed::{self, Following, Wish};
use super::{Column, Entity, Model};
use crate::Nova;

/// Silence lasts so long at most.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream lasts at most; the client comes back by itself.
const LIFE: Duration = Duration::from_secs(600);
/// Kept notifications read at once.
const PAGE: u64 = 100;
const PARAMETERS: &[&str] = &["all_projects", "server_id", "last_event_id"];

/// `GET /cumulo/v1/events`
pub async fn follow(app: Nova, ctx: Context, query: Query, request: Raw) -> Result<Reply> {
    if let Some((unknown, _)) = query.0.iter().find(|(key, _)| !PARAMETERS.contains(&key.as_str())) {
        return Err(Error::bad_request(format!("Additional properties are not allowed ('{unknown}' was unexpected)")));
    }
    let mut wish = Wish { project_id: Some(ctx.project_id()?.to_owned()), server_id: query.get("server_id").map(str::to_owned) };
    if query.flag("all_projects") {
        ctx.enforce("cumulo:events:all_projects", &Target::project(ctx.project_id()?))?;
        wish.project_id = None;
    }
    let header = request.parts.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let seen = match header.or_else(|| query.get("last_event_id")) {
        None => None,
        Some(text) => Some(text.trim().parse::<i64>().map_err(|_| Error::bad_request(format!("'{text}' is not the id of an event.")))?),
    };
    let following = app.feed.follow(&app, wish.clone()).await?;
    let mut stream = Stream::new(app, &ctx, wish, following);
    if let Some(seen) = seen {
        stream.go_back_to(seen).await?;
    }
    let body = futures::stream::unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((Ok::<_, Infallible>(piece), stream))
    });
    Ok(Reply::body("text/event-stream", Body::from_stream(body)).header("cache-control", "no-store").header("x-accel-buffering", "no"))
}

/// One follower's stream: first what is kept, then what comes.
struct Stream {
    app: Nova,
    wish: Wish,
    following: Following,
    /// The last kept notification that was read, while there may be more.
    kept: Option<i64>,
    ready: VecDeque<Bytes>,
    ends: Instant,
}

impl Stream {
    fn new(app: Nova, ctx: &Context, wish: Wish, following: Following) -> Stream {
        let expires = ctx.identity.as_ref().map_or(0, |identity| identity.expires_at);
        let life = Timestamp(expires).since(Timestamp::now()).min(LIFE);
        // at once, so that the client knows that it is heard
        let ready = VecDeque::from([Bytes::from_static(b": hello\n\n")]);
        Stream { app, wish, following, kept: None, ready, ends: Instant::now() + life }
    }

    /// The client has heard everything up to this one.
    async fn go_back_to(&mut self, seen: i64) -> Result<()> {
        let first = Entity::find().select_only().column(Column::Number).order_by_asc(Column::Number).into_tuple::<i64>();
        let oldest = first.one(self.app.db.read()).await?.unwrap_or(self.following.since + 1);
        if seen + 1 < oldest {
            let lost = format!("event: missed\ndata: {{\"after\": {seen}, \"before\": {oldest}}}\n\n");
            self.ready.push_back(Bytes::from(lost));
        }
        self.kept = Some(seen);
        Ok(())
    }

    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            if let Some(after) = self.kept {
                self.read_kept(after).await?;
                continue;
            }
            let left = self.ends.checked_duration_since(Instant::now())?;
            return match timeout(HEARTBEAT.min(left), self.following.queue.recv()).await {
                Ok(row) => row.as_deref().map(event),
                Err(_) => Some(Bytes::from_static(b": heartbeat\n\n")),
            };
        }
    }

    async fn read_kept(&mut self, after: i64) -> Option<()> {
        let until = Some(self.following.since);
        match feed::after(&self.app, after, until, &self.wish, PAGE).await {
            Ok(rows) => {
                self.kept = rows.last().map(|row| row.number).filter(|_| rows.len() as u64 == PAGE);
                self.ready.extend(rows.iter().map(event));
                Some(())
            }
            Err(error) => {
                tracing::warn!(%error, "kept notifications could not be read; the client may come back");
                None
            }
        }
    }
}

/// JSON has no line breaks of its own, so a notification is one line of data.
fn event(row: &Model) -> Bytes {
    Bytes::from(format!("id: {}\nevent: {}\ndata: {}\n\n", row.number, row.event_type, row.body))
}
