//! What the cinder-volume processes of the hosts say and ask, and how they are called.

use std::collections::HashMap;
use std::time::Duration;

use kit::bus::Handlers;
use kit::{Error, Result};
use rpc::volume::{FetchSecret, FetchState, Heartbeat, HostVolumes, InitializeConnection, volume_topic};

use crate::services::BACKUP;
use crate::volumes::AttachStatus;
use crate::{Cinder, attachments, keys, services, volumes};

/// How often a caller looks whether the host it waits for is still alive.
const LOOK: Duration = Duration::from_secs(5);

/// Answers the topic `cinder`.
pub fn handlers(app: &Cinder) -> Handlers {
    let (beat, state, secrets) = (app.clone(), app.clone(), app.clone());
    Handlers::new()
        .on(move |message: Heartbeat| {
            let app = beat.clone();
            async move {
                // who keeps volumes also backs them up
                let host = message.host.split('@').next().unwrap_or_default().to_owned();
                let backup = Heartbeat { host, availability_zone: message.availability_zone.clone(), ..Heartbeat::default() };
                services::store::seen(&app, BACKUP, backup).await?;
                services::store::seen(&app, "cinder-volume", message).await
            }
        })
        .on(move |message: FetchState| {
            let app = state.clone();
            async move { fetch_state(&app, &message.host).await }
        })
        .on(move |message: FetchSecret| {
            let app = secrets.clone();
            async move { keys::secret_of(&app, &message.id).await }
        })
}

/// Calls the cinder-volume of `host`, as long as it shows signs of life.
pub async fn call<M: rpc::Message>(app: &Cinder, host: Option<&str>, message: M, patience: Duration) -> Result<M::Reply> {
    let host = host.ok_or_else(|| Error::unavailable("The volume is on no host."))?;
    let topic = volume_topic(host);
    let mut call = std::pin::pin!(app.bus().call(&topic, message, patience));
    loop {
        if !services::store::is_up(app.db().read(), host).await? {
            return Err(Error::unavailable(format!("The volume service of {host} is down.")));
        }
        tokio::select! {
            answer = call.as_mut() => return answer,
            _ = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// cinder-scheduler lives in this process; its sign of life is the process's.
pub async fn scheduler_is_up(app: &Cinder) -> Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let message = Heartbeat { host: host.trim().to_owned(), ..Heartbeat::default() };
    services::store::seen(app, "cinder-scheduler", message).await
}

/// All volumes that should be on a host, and those that must be reachable.
async fn fetch_state(app: &Cinder, host: &str) -> Result<HostVolumes> {
    let db = app.db().read();
    let volumes = volumes::store::on_host(db, host).await?;
    let ids: Vec<String> = volumes.iter().map(|volume| volume.id.clone()).collect();
    let names: HashMap<String, String> = volumes.iter().map(|volume| (volume.id.clone(), volume.data_id().to_owned())).collect();
    let mut exports = Vec::new();
    for attachment in attachments::store::of_volumes(db, &ids).await? {
        let reachable = match attachment.status {
            AttachStatus::Attaching | AttachStatus::Attached => attachment.connection_info.is_some(),
            AttachStatus::Reserved | AttachStatus::Detached => false,
        };
        if let (true, Some(connector)) = (reachable, &attachment.connector) {
            exports.push(InitializeConnection {
                volume_id: names.get(&attachment.volume_id).cloned().unwrap_or_default(),
                attachment_id: attachment.id.clone(),
                connector: connector.0.clone(),
                readonly: attachment.mode == "ro",
            });
        }
    }
    Ok(HostVolumes { volume_ids: names.into_values().collect(), exports })
}
