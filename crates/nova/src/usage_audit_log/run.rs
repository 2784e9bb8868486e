//! Takes account of what is over: each host once for each period, its servers told in the transaction that says so.

use kit::Result;
use kit::clock::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{ConnectionTrait, QuerySelect, Set};
use tokio::time::Instant;

use super::period::Period;
use super::{ActiveModel, Column, Entity};
use crate::notifications::relay;
use crate::servers::instance;
use crate::{Nova, os_services};

/// Tells of the servers of the last period that is over, unless the operator wants no accounts or that is done.
pub async fn audit(app: &Nova) -> Result<()> {
    if !app.config.instance_usage_audit {
        return Ok(());
    }
    let period = app.config.instance_usage_audit_period.completed_before(Timestamp::now());
    for service in os_services::compute_hosts(app).await? {
        let nova = app.clone();
        let told = app.db.write(move |tx| Box::pin(async move { of_host(&nova, tx, &service.host, period).await })).await?;
        relay::announce(app, told).await;
    }
    Ok(())
}

async fn of_host(app: &Nova, tx: &impl ConnectionTrait, host: &str, period: Period) -> Result<Vec<rpc::notifications::Notification>> {
    let (began, servers) = (Instant::now(), active(tx, host, period).await?);
    let row = ActiveModel {
        host: Set(host.to_owned()),
        period_beginning: Set(period.begin),
        period_ending: Set(period.end),
        state: Set("DONE".into()),
        task_items: Set(servers.len() as i64),
        errors: Set(0),
        message: Set(format!(
            "Instance usage audit ran for host {host}, {} instances in {} seconds.",
            servers.len(),
            began.elapsed().as_secs_f64()
        )),
    };
    let once = OnConflict::columns([Column::Host, Column::PeriodBeginning, Column::PeriodEnding]).do_nothing().to_owned();
    // somebody else was first
    if Entity::insert(row).on_conflict(once).exec_without_returning(tx).await? == 0 {
        return Ok(Vec::new());
    }
    relay::tell_existing(app, tx, servers, period).await
}

/// The servers of a host that lived in a period.
async fn active(tx: &impl ConnectionTrait, host: &str, period: Period) -> Result<Vec<String>> {
    use instance::Column;
    let ended_later = Column::TerminatedAt.is_null().or(Column::TerminatedAt.gt(period.begin));
    let ids = instance::Entity::find().select_only().column(Column::Id).filter(Column::Host.eq(host));
    Ok(ids.filter(Column::LaunchedAt.lt(period.end)).filter(ended_later).into_tuple().all(tx).await?)
}
