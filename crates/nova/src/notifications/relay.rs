//! Takes what was not told yet and tells it: into the table of the last notifications, then onto the bus.
//!
//! What is taken is marked in the transaction that writes the notifications, so each is told once, whichever conductor comes first. A server
//! is shown as it is when it is told of, which is moments after it happened.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use indexmap::IndexMap;
use kit::clock::Timestamp;
use kit::{Result, ids};
use rpc::notifications::{Notification, TOPIC};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, FromQueryResult, Set, Statement};
use serde_json::Value;

use super::names::{self, Moment};
use super::payload::{self, Subject};
use super::updates::Update;
use super::{ActiveModel, Column, Entity};
use crate::servers::block_devices;
use crate::servers::instance;
use crate::servers::states::{TaskState, VmState};
use crate::servers::store;
use crate::usage_audit_log::period::Period;
use crate::{Nova, instance_actions};

/// Notifications that are kept for those who come back.
const KEPT: i64 = 10_000;
/// Rows of one statement.
const CHUNK: usize = 100;

/// What is told of servers beside what is done to them.
const UPDATE: &str = "instance.update";
const EXISTS: &str = "instance.exists";

// `told < 2` is there for the index that only has such rows
const WAITING: &str = "SELECT 1 FROM actions WHERE told < 2 AND (told = 0 OR finished_at IS NOT NULL) LIMIT 1";
const BEGUN: &str = "UPDATE actions SET told = CASE WHEN finished_at IS NULL THEN 1 ELSE 2 END WHERE told = 0 AND id IN \
    (SELECT id FROM actions WHERE told < 2 AND told = 0 ORDER BY started_at LIMIT 500) RETURNING *";
const ENDED: &str = "UPDATE actions SET told = 2 WHERE told = 1 AND id IN \
    (SELECT id FROM actions WHERE told < 2 AND told = 1 AND finished_at IS NOT NULL ORDER BY started_at LIMIT 500) RETURNING *";

/// Where the relay is; it looks only when something was written since it looked last.
#[derive(Debug, Default)]
pub struct Relay {
    commits: AtomicU64,
}

impl Relay {
    fn may_have_news(&self, app: &Nova) -> bool {
        let commits = app.db.commits();
        commits.is_none_or(|now| self.commits.swap(now, Ordering::Relaxed) != now) || !app.updates.is_empty()
    }
}

/// Tells what there is to tell.
pub async fn relay(app: &Nova) -> Result<()> {
    if !app.relay.may_have_news(app) {
        return Ok(());
    }
    let outcome = look(app).await;
    if outcome.is_err() {
        // next time as if something had been written
        app.relay.commits.store(u64::MAX, Ordering::Relaxed);
    }
    outcome
}

async fn look(app: &Nova) -> Result<()> {
    let statement = Statement::from_string(app.db.read().get_database_backend(), WAITING);
    if app.updates.is_empty() && app.db.read().query_one_raw(statement).await?.is_none() {
        return Ok(());
    }
    let nova = app.clone();
    let told = app.db.write(move |tx| Box::pin(async move { tell(&nova, tx).await })).await?;
    announce(app, told).await;
    Ok(())
}

/// Puts what is written onto the bus.
pub async fn announce(app: &Nova, told: Vec<Notification>) {
    for notification in told {
        if let Err(error) = app.bus.cast(TOPIC, notification).await {
            tracing::debug!(%error, "nobody hears notifications");
        }
    }
}

/// Writes `instance.exists` of servers in a period that is over.
pub async fn tell_existing(app: &Nova, tx: &impl ConnectionTrait, servers: Vec<String>, period: Period) -> Result<Vec<Notification>> {
    write(app, tx, servers.into_iter().map(|id| (id, News::Existence(period))).collect()).await
}

/// Removes what is too old to be kept.
pub async fn trim(app: &Nova) -> Result<()> {
    let newest = newest(app.db.read()).await?;
    app.db
        .write(move |tx| {
            Box::pin(async move {
                Entity::delete_many().filter(Column::Number.lte(newest - KEPT)).exec(tx).await?;
                Ok(())
            })
        })
        .await
}

/// The number of the last notification; 0 when there was none.
pub async fn newest(db: &impl ConnectionTrait) -> Result<i64> {
    use sea_orm::{QueryOrder, QuerySelect};
    let newest: Option<i64> =
        Entity::find().select_only().column(Column::Number).order_by_desc(Column::Number).into_tuple().one(db).await?;
    Ok(newest.unwrap_or_default())
}

/// Something to tell of a server.
enum News {
    Action(instance_actions::Model, Moment),
    Update(Update),
    Existence(Period),
}

/// Writes the notifications of all that waits, in an order in which a server's follow each other as they happened.
async fn tell(app: &Nova, tx: &impl ConnectionTrait) -> Result<Vec<Notification>> {
    let mut updates = app.updates.take();
    let begun = take(tx, BEGUN).await?;
    let ended = take(tx, ENDED).await?;
    let over: Vec<_> = begun.iter().filter(|action| action.finished_at.is_some()).cloned().chain(ended).collect();
    // what a server went through before its action ended is told before the end; other changes may be of actions that wait for the next turn
    let mut later = IndexMap::new();
    for (id, update) in app.updates.take() {
        if over.iter().any(|action| action.instance_id == id) {
            updates.entry(id).or_insert(update);
        } else {
            later.insert(id, update);
        }
    }
    app.updates.put_back(later);
    let end = |action: &instance_actions::Model| if action.message.is_some() { Moment::Error } else { Moment::End };
    let mut news: Vec<(String, News)> = Vec::new();
    news.extend(begun.into_iter().map(|action| (action.instance_id.clone(), News::Action(action, Moment::Start))));
    news.extend(updates.into_iter().map(|(id, update)| (id, News::Update(update))));
    news.extend(over.into_iter().map(|action| (action.instance_id.clone(), News::Action(action.clone(), end(&action)))));
    write(app, tx, news).await
}

async fn take(tx: &impl ConnectionTrait, sql: &str) -> Result<Vec<instance_actions::Model>> {
    let rows = tx.query_all_raw(Statement::from_string(tx.get_database_backend(), sql)).await?;
    let mut actions = Vec::with_capacity(rows.len());
    for row in &rows {
        actions.push(instance_actions::Model::from_query_result(row, "")?);
    }
    actions.sort_by_key(|action| action.started_at);
    Ok(actions)
}

async fn write(app: &Nova, tx: &impl ConnectionTrait, news: Vec<(String, News)>) -> Result<Vec<Notification>> {
    let mut servers: HashMap<String, instance::Model> = HashMap::new();
    let mut devices: HashMap<String, Vec<block_devices::Model>> = HashMap::new();
    let mut wanted: Vec<&str> = news.iter().map(|(id, _)| id.as_str()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    for some in wanted.chunks(CHUNK) {
        let rows = instance::Entity::find().filter(instance::Column::Id.is_in(some.iter().copied())).all(tx).await?;
        servers.extend(rows.into_iter().map(|row| (row.id.clone(), row)));
        let volumes = block_devices::Entity::find().filter(block_devices::Column::InstanceId.is_in(some.iter().copied()));
        for device in volumes.filter(block_devices::Column::VolumeId.is_not_null()).all(tx).await? {
            devices.entry(device.instance_id.clone()).or_default().push(device);
        }
    }
    let now = app.config.instance_usage_audit_period.current(Timestamp::now());
    let subject = |id: &String| {
        let server = servers.get(id)?;
        Some(Subject { server, devices: devices.get(id).map(Vec::as_slice).unwrap_or_default() })
    };
    let told: Vec<(&instance::Model, Notification)> =
        news.iter().filter_map(|(id, news)| Some(notifications(subject(id)?, news, now))).flatten().collect();
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let last = store::next_numbers(tx, "notifications", told.len() as i64).await?;
    let mut number = last - told.len() as i64;
    for some in told.chunks(CHUNK) {
        let mut rows = Vec::with_capacity(some.len());
        for (server, notification) in some {
            number += 1;
            rows.push(ActiveModel {
                number: Set(number),
                project_id: Set(server.project_id.clone()),
                instance_id: Set(server.id.clone()),
                event_type: Set(notification.event_type.clone()),
                body: Set(serde_json::to_string(notification)?),
            });
        }
        Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(told.into_iter().map(|(_, notification)| notification).collect())
}

/// What is told of one thing that happened to a server, in an audit period that is not over.
fn notifications<'s>(subject: Subject<'s>, news: &News, now: Period) -> Vec<(&'s instance::Model, Notification)> {
    let server = subject.server;
    let told = match news {
        News::Action(action, moment) => {
            let failed = *moment == Moment::Error;
            let payload = |name: &str| match name {
                EXISTS => payload::of_existence(subject, Some(action), now),
                UPDATE => payload::of_update(subject, &Update::of(server, &action.request_id, false), now),
                _ => payload::of_action(subject, name, action, failed),
            };
            let names = names::event_types(&action.action, *moment, is_soft_deleted(server));
            names.into_iter().map(|name| (payload(&name), name)).map(|(payload, name)| envelope(name, payload)).collect()
        }
        News::Update(update) => vec![envelope(UPDATE.into(), payload::of_update(subject, update, now))],
        News::Existence(period) => vec![envelope(EXISTS.into(), payload::of_existence(subject, None, *period))],
    };
    told.into_iter().map(|notification| (server, notification)).collect()
}

fn is_soft_deleted(server: &instance::Model) -> bool {
    server.vm_state == VmState::SoftDeleted.word() || server.task_state.as_deref() == Some(TaskState::SoftDeleting.word())
}

fn envelope(event_type: String, payload: Value) -> Notification {
    Notification {
        message_id: ids::uuid(),
        publisher_id: format!("nova-conductor:{}", crate::conductor::reconcile::own_host()),
        priority: if event_type.ends_with(".error") { "ERROR" } else { "INFO" }.into(),
        event_type,
        payload,
        timestamp: Timestamp::now().to_micros().replace('T', " "),
    }
}
