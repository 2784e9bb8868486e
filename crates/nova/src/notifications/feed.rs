//! Those who follow the stream of notifications in this process: each has a bounded queue, and who does not keep up is let go.
//!
//! While somebody follows, one task reads what is new in the table and gives it to everybody whom it concerns. It looks when it is woken, and
//! once a second, since the notification may have been told by another process.

use std::sync::Arc;
use std::time::Duration;

use kit::{Error, Result};
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use tokio::sync::{Mutex, Notify, mpsc};

use super::{Column, Entity, Model, relay};
use crate::Nova;

/// Notifications that may wait for one follower.
pub const QUEUE: usize = 256;
/// Followers at once.
const FOLLOWERS: usize = 256;
/// Rows read at once.
const PAGE: u64 = 500;
const LOOK: Duration = Duration::from_secs(1);

/// What a follower wants to hear.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Everybody's when absent.
    pub project_id: Option<String>,
    pub server_id: Option<String>,
}

impl Wish {
    fn wants(&self, row: &Model) -> bool {
        self.project_id.as_ref().is_none_or(|id| *id == row.project_id) && self.server_id.as_ref().is_none_or(|id| *id == row.instance_id)
    }
}

/// The followers.
#[derive(Default)]
pub struct Feed {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    followers: Vec<Follower>,
    /// The last notification that was given to them.
    last: i64,
    /// Somebody gives them what is new.
    given: bool,
    ended: bool,
}

struct Follower {
    wish: Wish,
    queue: mpsc::Sender<Arc<Model>>,
}

/// What a follower gets: all that comes after `since`.
pub struct Following {
    pub since: i64,
    pub queue: mpsc::Receiver<Arc<Model>>,
}

impl Feed {
    /// There is something new.
    pub fn wake(&self) {
        self.news.notify_one();
    }

    /// One more follower; 503 when there are too many.
    pub async fn follow(&self, app: &Nova, wish: Wish) -> Result<Following> {
        let mut state = self.state.lock().await;
        if state.ended || state.followers.len() >= FOLLOWERS {
            return Err(Error::unavailable("Too many clients follow events. Try again later."));
        }
        if !state.given {
            state.last = relay::newest(app.db.read()).await?;
            state.given = true;
            tokio::spawn(give(app.clone()));
        }
        let (queue, receiver) = mpsc::channel(QUEUE);
        state.followers.push(Follower { wish, queue });
        Ok(Following { since: state.last, queue: receiver })
    }

    /// The process ends: all streams do.
    pub async fn end(&self) {
        let mut state = self.state.lock().await;
        state.ended = true;
        state.followers.clear();
    }
}

/// Gives what is new until nobody follows any more.
async fn give(app: Nova) {
    loop {
        // woken or not: there may be something that another process told
        let _ = tokio::time::timeout(LOOK, app.feed.news.notified()).await;
        let mut state = app.feed.state.lock().await;
        state.followers.retain(|follower| !follower.queue.is_closed());
        if state.followers.is_empty() {
            state.given = false;
            return;
        }
        match after(&app, state.last, None, &Wish::default(), PAGE).await {
            Ok(rows) => {
                if rows.len() as u64 == PAGE {
                    app.feed.wake();
                }
                rows.into_iter().for_each(|row| state.give(row));
            }
            Err(error) => tracing::warn!(%error, "notifications could not be read; trying again"),
        }
    }
}

impl State {
    fn give(&mut self, row: Model) {
        self.last = row.number;
        let row = Arc::new(row);
        self.followers.retain(|follower| !follower.wish.wants(&row) || follower.queue.try_send(row.clone()).is_ok());
    }
}

/// Notifications after a number, up to another, that somebody wants to hear.
pub async fn after(app: &Nova, number: i64, until: Option<i64>, wish: &Wish, most: u64) -> Result<Vec<Model>> {
    let mut select = Entity::find().filter(Column::Number.gt(number));
    if let Some(until) = until {
        select = select.filter(Column::Number.lte(until));
    }
    if let Some(project) = &wish.project_id {
        select = select.filter(Column::ProjectId.eq(project));
    }
    if let Some(server) = &wish.server_id {
        select = select.filter(Column::InstanceId.eq(server));
    }
    Ok(select.order_by_asc(Column::Number).limit(most).all(app.db.read()).await?)
}
