//! The messages of one host's topic. Messages about one volume wait for each other, so that a repeated message finds what the first one
//! made; messages about different volumes run side by side.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kit::auth::ServiceSession;
use kit::bus::{Bus, Handlers};
use kit::{Result, reconcile};
use rpc::volume::{
    BackedUp, CopyVolume, CreateBackup, CreateSnapshot, CreateVolume, Created, DeleteBackup, DeleteSnapshot, DeleteVolume, ExtendVolume,
    FetchState, FindBackup, Heartbeat, InitializeConnection, ListManageable, ListManageableSnapshots, ManageSnapshot, ManageVolume,
    ReimageVolume, RestoreBackup, RevertVolume, SERVER_TOPIC, TerminateConnection, UnmanageSnapshot, UnmanageVolume, UploadVolume,
    VolumeSource, volume_topic,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::backend::{Export, Origin, Original, VolumeBackend};
use crate::image::{Image, upload};
use crate::locks::Locks;

/// Messages handled at once.
const CONCURRENCY: usize = 32;
/// How often cinder hears from us.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long cinder may take to say what should exist here.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a host's cinder-volume is made of.
#[derive(Clone)]
pub struct Manager {
    config: Config,
    bus: Bus,
    backend: Arc<dyn VolumeBackend>,
    images: sdk::image::Image,
    session: ServiceSession,
    locks: Arc<Locks>,
}

impl Manager {
    pub fn new(config: Config, bus: Bus, backend: Arc<dyn VolumeBackend>, images: sdk::image::Image, session: ServiceSession) -> Manager {
        Manager { config, bus, backend, images, session, locks: Arc::default() }
    }

    /// Restores what should be exported, then serves until `stop`.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        if !self.restore_until(&stop).await {
            return Ok(());
        }
        let serving = self.bus.serve(&volume_topic(&self.config.host), self.handlers(), CONCURRENCY);
        let manager = self.clone();
        let beating = reconcile::every("heartbeat", HEARTBEAT, stop.clone(), move || {
            let manager = manager.clone();
            async move { manager.heartbeat().await }
        });
        stop.cancelled().await;
        serving.abort();
        // the heart stops by itself at `stop`
        let _ = beating.await;
        Ok(())
    }

    fn handlers(&self) -> Handlers {
        Handlers::new()
            .on(self.serial(|m: &CreateVolume| m.volume_id.clone(), |this, m| async move { this.create(m).await }))
            .on(self.serial(|m: &DeleteVolume| m.volume_id.clone(), |this, m| async move { this.backend.delete(&m.volume_id).await }))
            .on(self.serial(
                |m: &ExtendVolume| m.volume_id.clone(),
                |this, m| async move { this.backend.extend(&m.volume_id, m.new_size).await },
            ))
            .on(self.serial(|m: &InitializeConnection| m.volume_id.clone(), |this, m| async move { this.export(m).await }))
            .on(self.serial(
                |m: &TerminateConnection| m.volume_id.clone(),
                |this, m| async move { this.backend.unexport(&m.volume_id, &m.attachment_id).await },
            ))
            .on(self.serial(
                |m: &CreateSnapshot| m.volume_id.clone(),
                |this, m| async move { this.backend.snapshot(&m.volume_id, &m.snapshot_id).await },
            ))
            .on(self.serial(
                |m: &DeleteSnapshot| m.volume_id.clone(),
                |this, m| async move { this.backend.delete_snapshot(&m.volume_id, &m.snapshot_id).await },
            ))
            .on(self.serial(
                |m: &RevertVolume| m.volume_id.clone(),
                |this, m| async move { this.backend.revert(&m.volume_id, &m.snapshot_id, m.size).await },
            ))
            .on(self.serial(|m: &ReimageVolume| m.volume_id.clone(), |this, m| async move { this.reimage(m).await }))
            .on(self.serial(
                |m: &RestoreBackup| m.volume_id.clone(),
                |this, m| async move { this.backend.refill(&m.volume_id, m.size, Origin::Backup(m.backup_id)).await },
            ))
            .on(self
                .serial(|m: &ManageVolume| m.volume_id.clone(), |this, m| async move { this.backend.manage(&m.volume_id, &m.name).await }))
            .on(self.serial(|m: &UnmanageVolume| m.volume_id.clone(), |this, m| async move { this.backend.unmanage(&m.volume_id).await }))
            .on(self.serial(
                |m: &ManageSnapshot| m.volume_id.clone(),
                |this, m| async move { this.backend.manage_snapshot(&m.volume_id, &m.snapshot_id, &m.name).await },
            ))
            .on(self.serial(
                |m: &UnmanageSnapshot| m.volume_id.clone(),
                |this, m| async move { this.backend.unmanage_snapshot(&m.volume_id, &m.snapshot_id).await },
            ))
            // what only reads a volume leaves it to others meanwhile
            .on(self.serial(|m: &UploadVolume| m.image_id.clone(), |this, m| async move { this.upload(m).await }))
            .on(self.serial(
                |m: &CopyVolume| m.volume_id.clone(),
                |this, m| async move { this.backend.copy_to(&m.volume_id, &m.connection).await },
            ))
            .on(self.serial(|m: &CreateBackup| m.backup_id.clone(), |this, m| async move { this.back_up(m).await }))
            .on(self
                .serial(|m: &DeleteBackup| m.backup_id.clone(), |this, m| async move { this.backend.delete_backup(&m.backup_id).await }))
            .on(self.serial(|m: &FindBackup| m.backup_id.clone(), |this, m| async move { this.backend.has_backup(&m.backup_id).await }))
            .on(self.serial(|_: &ListManageable| String::new(), |this, _| async move { this.backend.manageable().await }))
            .on(self
                .serial(|_: &ListManageableSnapshots| String::new(), |this, _| async move { this.backend.manageable_snapshots().await }))
    }

    /// A handler of messages about the volume that `subject` names, one at a time.
    fn serial<M, Fut>(&self, subject: fn(&M) -> String, handle: fn(Manager, M) -> Fut) -> impl Fn(M) -> HandlerFuture<M> + use<M, Fut>
    where
        M: rpc::Message,
        Fut: Future<Output = Result<M::Reply>> + Send + 'static,
    {
        let this = self.clone();
        move |message| {
            let this = this.clone();
            Box::pin(async move {
                let subject = subject(&message);
                let lock = this.locks.of(&subject);
                let outcome = {
                    let _alone = lock.lock().await;
                    handle(this.clone(), message).await
                };
                this.locks.tidy(&subject, lock);
                if let Err(error) = &outcome {
                    tracing::warn!(volume = subject, method = M::METHOD, %error, "failed");
                } else {
                    tracing::info!(volume = subject, method = M::METHOD, "done");
                }
                outcome
            })
        }
    }

    async fn create(&self, message: CreateVolume) -> Result<Created> {
        let mut image_metadata = json!({});
        let origin = match message.source {
            VolumeSource::Blank => Origin::Blank,
            VolumeSource::Image { image_id } => {
                let image = Image::find(&self.images, &self.session, &message.caller, &image_id).await?;
                image_metadata = image.metadata();
                Origin::Image(Box::new(image))
            }
            VolumeSource::Volume { volume_id } => Origin::Volume(volume_id),
            VolumeSource::Snapshot { volume_id, snapshot_id } => Origin::Snapshot { volume_id, snapshot_id },
            VolumeSource::Backup { backup_id } => Origin::Backup(backup_id),
        };
        self.backend.create(&message.volume_id, message.size, origin).await?;
        Ok(Created { image_metadata })
    }

    async fn reimage(&self, message: ReimageVolume) -> Result<Created> {
        let image = Image::find(&self.images, &self.session, &message.caller, &message.image_id).await?;
        let image_metadata = image.metadata();
        self.backend.refill(&message.volume_id, message.size, Origin::Image(Box::new(image))).await?;
        Ok(Created { image_metadata })
    }

    async fn upload(&self, message: UploadVolume) -> Result<()> {
        let auth = self.session.on_behalf(&message.caller).await?;
        if self.images.show(&auth, &message.image_id).await?.status == "active" {
            // a repeated message
            return Ok(());
        }
        let file = self.backend.image_file(&message.volume_id, &message.image_id, &message.disk_format).await?;
        upload(&self.images, &auth, &message.image_id, file).await
    }

    async fn back_up(&self, message: CreateBackup) -> Result<BackedUp> {
        let original = Original { volume_id: message.volume_id, snapshot_id: message.snapshot_id, parent_id: message.parent_id };
        self.backend.back_up(&message.backup_id, original).await
    }

    async fn export(&self, message: InitializeConnection) -> Result<Value> {
        self.backend.export(&message.volume_id.clone(), self.use_of(message)).await
    }

    /// A use without a host is one of this host's own.
    fn use_of(&self, message: InitializeConnection) -> Export {
        let own = self.config.host.split('@').next().unwrap_or_default();
        let remote = message.connector["host"].as_str().is_some_and(|host| host != own);
        Export { attachment_id: message.attachment_id, readonly: message.readonly, remote }
    }

    /// Asks cinder until it answers; false when stopped before.
    async fn restore_until(&self, stop: &CancellationToken) -> bool {
        let mut pause = Duration::from_millis(100);
        loop {
            let Err(error) = self.restore().await else { return true };
            tracing::warn!(%error, "the volumes of this host are not restored yet; trying again");
            tokio::select! {
                _ = stop.cancelled() => return false,
                _ = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
            }
        }
    }

    async fn restore(&self) -> Result<()> {
        let state = self.bus.call(SERVER_TOPIC, FetchState { host: self.config.host.clone() }, PATIENCE).await?;
        let export = |m: InitializeConnection| (m.volume_id.clone(), self.use_of(m));
        let exports: Vec<_> = state.exports.into_iter().map(export).collect();
        self.backend.restore(&state.volume_ids, &exports).await?;
        tracing::info!(volumes = state.volume_ids.len(), exports = exports.len(), "restored");
        self.heartbeat().await
    }

    async fn heartbeat(&self) -> Result<()> {
        let capacity = self.backend.capacity().await?;
        let message = Heartbeat {
            host: self.config.host.clone(),
            total_capacity_gb: capacity.total,
            free_capacity_gb: capacity.free,
            storage_protocol: self.backend.protocol().to_owned(),
            filter_function: self.config.filter_function.clone(),
            goodness_function: self.config.goodness_function.clone(),
            max_over_subscription_ratio: self.config.max_over_subscription_ratio,
            reserved_percentage: self.config.reserved_percentage,
            availability_zone: self.config.availability_zone.clone(),
        };
        self.bus.cast(SERVER_TOPIC, message).await
    }
}

type HandlerFuture<M> = futures::future::BoxFuture<'static, Result<<M as rpc::Message>::Reply>>;
