//! A guest's root disk as an image: copied at one moment while the guest goes on, then uploaded; the copy goes.

use std::path::{Path, PathBuf};

use kit::{Error, Result};
use rpc::Caller;
use rpc::actions::SnapshotInstance;
use rpc::compute::Instance;

use super::action::{Subject, task};
use super::disks::ROOT;
use super::{disks, images};
use crate::host::{Host, Store};
use crate::hypervisor::{DiskFormat, PowerState};
use crate::image::qemu_img;

/// What the task is called while the disk is copied, and while it is uploaded.
pub struct Stages {
    pub pending: &'static str,
    pub uploading: &'static str,
}

const SNAPSHOT: Stages = Stages { pending: "image_pending_upload", uploading: "image_uploading" };

/// Uploads the root disk, and ends the task.
pub async fn snapshot(host: Host, request: SnapshotInstance) -> Result<()> {
    let subject = Subject { host: &host, caller: &request.caller, instance_id: &request.instance_id };
    let done = subject.call("compute_snapshot_instance", take(&host, &request)).await;
    // the server is what it was, whether there is an image or not
    let over = finish_task(&host, &request.instance_id).await;
    done.and(over)
}

async fn take(host: &Host, request: &SnapshotInstance) -> Result<()> {
    let instance = host.must_have(&request.instance_id).await?;
    upload_root(host, &request.caller, &instance, &request.image_id, &SNAPSHOT).await
}

async fn finish_task(host: &Host, instance_id: &str) -> Result<()> {
    host.save(rpc::conductor::SaveInstance { task_state: Some(None), ..host.change(instance_id) }).await
}

/// Copies the root disk and uploads the copy.
pub async fn upload_root(host: &Host, caller: &Caller, instance: &Instance, image_id: &str, stages: &Stages) -> Result<()> {
    task(host, instance, stages.pending).await?;
    let Some(store) = &host.store else {
        task(host, instance, stages.uploading).await?;
        return images::upload_nothing(host, caller, image_id).await;
    };
    let format = images::show(host, caller, image_id).await?.disk_format;
    // ids become paths
    let image = kit::ids::parse_uuid(image_id).ok_or_else(|| Error::bad_request(format!("{image_id} is no image id.")))?;
    let copy = Copy(store.instances.join(&instance.id).join(format!("snapshot-{image}")));
    copy_root(host, store, instance, &copy.0).await?;
    let flat = Copy(copy.0.with_extension("raw"));
    let file = match format.as_deref() {
        Some("raw") => {
            store.prepare(&flat.0).await?;
            qemu_img::convert_to(store.account, &copy.0, "qcow2", &flat.0, DiskFormat::Raw).await?;
            &flat.0
        }
        _ => &copy.0,
    };
    task(host, instance, stages.uploading).await?;
    images::upload(host, caller, image_id, file).await
}

/// The root disk at this moment, flat: QEMU copies it under the guest, or qemu-img when no QEMU has it.
async fn copy_root(host: &Host, store: &Store, instance: &Instance, copy: &Path) -> Result<()> {
    let root = store.instances.join(&instance.id).join(ROOT);
    if !tokio::fs::try_exists(&root).await? {
        return Err(Error::bad_request(format!("Instance {} has no root disk on this host.", instance.id)));
    }
    store.prepare(copy).await?;
    match host.hypervisor.state(&instance.id) {
        PowerState::Running | PowerState::Paused | PowerState::Crashed => {
            let size = qemu_img::virtual_size(store.account, &root).await?;
            qemu_img::create(store.account, copy, size).await?;
            let must_quiesce = disks::hardware(instance)?.must_quiesce;
            host.hypervisor.copy_disk(&instance.id, "root", copy, must_quiesce).await
        }
        PowerState::Shutdown | PowerState::NoState | PowerState::Suspended => qemu_img::convert(store.account, &root, "qcow2", copy).await,
    }
}

/// A file that goes with its owner.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        // usually the raw one was never made
        let _ = std::fs::remove_file(&self.0);
    }
}
