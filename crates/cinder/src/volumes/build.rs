//! The flow that makes a volume: a host is chosen, makes it, and the volume is available. A host that fails is left for another.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::flow::{Flow, Step};
use kit::{Error, Kind as ErrorKind, Result};
use rpc::volume::VolumeSource;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::store::{self, Kind};
use super::{ActiveModel, Change, Column, Entity, Status, Volume, metadata};
use crate::messages::{self, Action};
use crate::scheduler::{self, Wish};
use crate::{Cinder, hosts, services};

/// An image may be large and glance slow; a repeated message would find the first one's work.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Hosts that are asked to make one volume, at most.
const ATTEMPTS: usize = 3;

/// schedule -> build -> announce
#[derive(Serialize, Deserialize)]
pub struct CreateVolume {
    pub caller: rpc::Caller,
    pub volume_id: String,
    pub size: i64,
    pub zone: String,
    pub source: VolumeSource,
    /// Where it is made, once that is known.
    pub host: Option<String>,
    #[serde(default)]
    pub extra_specs: BTreeMap<String, String>,
    #[serde(default)]
    pub together: Vec<String>,
    #[serde(default)]
    pub apart: Vec<String>,
    /// The host is the scheduler's choice, so that another may take its place.
    #[serde(default)]
    pub scheduled: bool,
    /// Hosts that were asked to make it.
    #[serde(default)]
    pub attempts: usize,
    /// The user knows that it failed.
    #[serde(default)]
    pub told: bool,
}

impl Flow for CreateVolume {
    type App = Cinder;
    const KIND: &'static str = "create_volume";

    fn steps() -> Vec<Step<Self>> {
        kit::steps![Self: schedule / fail, build / destroy, announce]
    }
}

impl CreateVolume {
    /// For a volume that is a copy of one on the same host.
    pub fn on_host(caller: rpc::Caller, volume: &Volume, source: VolumeSource) -> CreateVolume {
        CreateVolume {
            caller,
            volume_id: volume.id.clone(),
            size: volume.size,
            zone: volume.availability_zone.clone(),
            source,
            host: volume.host.clone(),
            extra_specs: BTreeMap::new(),
            together: Vec::new(),
            apart: Vec::new(),
            scheduled: false,
            attempts: 0,
            told: false,
        }
    }

    async fn schedule(&mut self, app: &Cinder) -> Result<()> {
        self.scheduled = self.scheduled || self.host.is_none();
        self.place(app, self.host.clone()).await
    }

    /// On the host that is given, or that is chosen now.
    async fn place(&mut self, app: &Cinder, given: Option<String>) -> Result<()> {
        let id = self.volume_id.clone();
        let image = matches!(self.source, VolumeSource::Image { .. });
        let (size, zone, specs) = (self.size, self.zone.clone(), self.extra_specs.clone());
        let (together, apart) = (self.together.clone(), self.apart.clone());
        // chosen and written down in one transaction: of two at once, the second sees what the first took
        let choice = app.db().write(move |tx| {
            Box::pin(async move {
                let host = match given {
                    Some(host) => host,
                    None => {
                        let wish = Wish { size, zone: &zone, extra_specs: &specs, together: &together, apart: &apart };
                        let (hosts, promised) = (services::store::volume_hosts(tx).await?, store::promised(tx).await?);
                        scheduler::choose(&hosts, |host| promised.get(host).copied().unwrap_or_default(), &wish)?.host.clone()
                    }
                };
                let row = ActiveModel { host: Set(Some(host.clone())), ..Default::default() };
                Entity::update_many().set(row).filter(Column::Id.eq(&id)).exec(tx).await?;
                if image {
                    store::change(tx, &id, Change::Download).await?;
                }
                Ok(host)
            })
        });
        self.host = Some(choice.await?);
        Ok(())
    }

    /// The volume stays, in error, until its owner deletes it.
    async fn fail(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        self.tell(app, error).await;
        store::turn(app, &self.volume_id, Change::CreateFailed).await
    }

    /// Once, however many steps are undone.
    async fn tell(&mut self, app: &Cinder, error: &Error) {
        let action = match (&self.host, &self.source) {
            (None, _) => Action::Schedule,
            (Some(_), VolumeSource::Image { .. }) => Action::CopyImageToVolume,
            (Some(_), _) => Action::CreateVolume,
        };
        if !std::mem::replace(&mut self.told, true) {
            messages::tell(app, &self.caller, action, &self.volume_id, error).await;
        }
    }

    /// A host that fails is left for another, as often as cinder's `scheduler_max_attempts` allows.
    async fn build(&mut self, app: &Cinder) -> Result<()> {
        // where it is by now, should this run again after a crash
        let volume = store::find(app.db().read(), &self.volume_id).await?;
        self.host = volume.and_then(|volume| volume.host).or(self.host.take());
        loop {
            let Err(error) = self.build_here(app).await else { return Ok(()) };
            self.attempts += 1;
            if !self.scheduled || self.attempts >= ATTEMPTS || !others_may_help(&error) {
                return Err(error);
            }
            tracing::warn!(volume = self.volume_id, host = self.host, %error, "could not be made there; looking for another host");
            if let Err(left) = self.leave(app).await {
                tracing::warn!(volume = self.volume_id, host = self.host, error = %left, "what was begun there stays behind");
            }
            self.apart.extend(self.host.clone());
            if let Err(none) = self.place(app, None).await {
                tracing::warn!(volume = self.volume_id, error = %none, "no other host can make it");
                return Err(error);
            }
        }
    }

    async fn build_here(&self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::CreateVolume {
            caller: self.caller.clone(),
            volume_id: self.volume_id.clone(),
            size: self.size.unsigned_abs(),
            source: self.source.clone(),
        };
        let created = hosts::call(app, self.host.as_deref(), message, PATIENCE).await?;
        let image = image_pairs(&created.image_metadata);
        if !image.is_empty() {
            metadata::write(app, &self.volume_id, Kind::Image, image, true).await?;
        }
        Ok(())
    }

    async fn leave(&self, app: &Cinder) -> Result<()> {
        let message = rpc::volume::DeleteVolume { volume_id: self.volume_id.clone() };
        hosts::call(app, self.host.as_deref(), message, PATIENCE).await
    }

    /// Says so first: a host that is gone must not keep the owner waiting.
    async fn destroy(&mut self, app: &Cinder, error: &Error) -> Result<()> {
        self.fail(app, error).await?;
        self.leave(app).await
    }

    /// A volume that was deleted by force meanwhile leaves nothing behind.
    async fn announce(&mut self, app: &Cinder) -> Result<()> {
        store::turn(app, &self.volume_id, Change::Created).await?;
        match store::find(app.db().read(), &self.volume_id).await? {
            Some(volume) if volume.status != Status::Deleting => Ok(()),
            _ => self.leave(app).await,
        }
    }
}

/// An image that cannot be had, and a source that is gone, fail everywhere; of who did not answer in time nobody knows what it does yet.
fn others_may_help(error: &Error) -> bool {
    !matches!(error.kind, ErrorKind::BadRequest | ErrorKind::TooLarge | ErrorKind::NotFound | ErrorKind::Forbidden | ErrorKind::TimedOut)
}

/// `volume_image_metadata` as a host tells it.
pub fn image_pairs(metadata: &Value) -> BTreeMap<String, String> {
    let pairs = metadata.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
