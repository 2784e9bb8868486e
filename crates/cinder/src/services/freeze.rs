//! Freezing and thawing a host: a frozen one keeps what it has and gets nothing new. No host here replicates, so none can fail over.

use http::StatusCode;
use kit::{Context, Error, Json, Reply, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde_json::Value;

use super::{ActiveModel, Column, Entity, store};
use crate::Cinder;

pub async fn freeze(app: Cinder, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    set(app, &body, true).await
}

pub async fn thaw(app: Cinder, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    set(app, &body, false).await
}

/// `failover_host`, and since 3.26 `failover`.
pub async fn fail_over(app: Cinder, _: Context, Json(body): Json<Value>) -> Result<Reply> {
    let host = named(&app, &body).await?;
    Err(Error::bad_request(format!("Invalid input received: Host {host} replication_status must be enabled to failover.")))
}

async fn set(app: Cinder, body: &Value, frozen: bool) -> Result<Reply> {
    let host = named(&app, body).await?;
    app.db()
        .write(move |tx| {
            Box::pin(async move {
                let row = ActiveModel { frozen: Set(frozen), ..Default::default() };
                Entity::update_many().set(row).filter(Column::Host.eq(host)).filter(Column::Kind.eq("cinder-volume")).exec(tx).await?;
                Ok(())
            })
        })
        .await?;
    Ok(Reply::empty(StatusCode::OK))
}

/// The host that a body names, or a cluster's name, of which there are none.
async fn named(app: &Cinder, body: &Value) -> Result<String> {
    if let Some(cluster) = body["cluster"].as_str() {
        return Err(Error::bad_request(format!("Invalid input received: Cluster {cluster} could not be found.")));
    }
    let host = body["host"].as_str().ok_or_else(|| Error::bad_request("Missing required element 'host' in request body."))?;
    match store::volume_hosts(app.db().read()).await?.into_iter().find(|service| service.host == host) {
        Some(service) => Ok(service.host),
        None => Err(Error::bad_request(format!("Invalid input received: Service {host} could not be found."))),
    }
}
