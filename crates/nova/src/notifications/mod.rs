//! What happens to servers, told to whoever listens, under the names and in the payloads of nova's versioned notifications.
//!
//! Every action passes through the `actions` table, so this is where it is told from: the row that says an action began or ended is written
//! with the change itself, and [`relay`] takes what was not told yet. Changes of state between the two are gathered by [`updates`]. Each
//! notification goes onto the bus, and into a table that keeps the last of them; from there [`feed`] serves those who follow the stream of
//! [`api`] in this process, whichever process told.

pub mod api;
pub mod feed;
mod names;
mod payload;
pub mod relay;
pub mod updates;

use kit::Result;
use kit::bus::Handlers;
use rpc::notifications::{Notification, TOPIC};
use sea_orm::entity::prelude::*;
use tokio::task::JoinHandle;

use crate::Nova;

/// A row of `notifications`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    pub project_id: String,
    pub instance_id: String,
    pub event_type: String,
    /// The whole notification, as it went onto the bus.
    pub body: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Hears of notifications, so that those who follow them need not wait for the next look at the table.
pub fn serve(app: &Nova) -> JoinHandle<()> {
    let nova = app.clone();
    let heard = move |_: Notification| {
        let nova = nova.clone();
        async move {
            nova.feed.wake();
            Result::Ok(())
        }
    };
    app.bus.serve(TOPIC, Handlers::new().on(heard), 1)
}
