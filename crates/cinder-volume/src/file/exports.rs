//! All volumes of a directory that are served over NBD, whatever lies under them: files of ours, or block devices.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use kit::{Error, Result};
use rpc::volume::Secret;
use serde_json::{Value, json};

use super::export::{Change, Exporter};
use super::gate::{self, Gates};
use super::{Layout, daemon};
use crate::backend::Export;

pub struct Exports {
    state_dir: PathBuf,
    qemu_gid: Option<u32>,
    gates: Option<Gates>,
    exporters: Mutex<HashMap<String, Exporter>>,
}

impl Exports {
    /// Makes the directories; QEMU's user may open the sockets, and other hosts come to the address. Blocks for a moment.
    pub fn open(state_dir: PathBuf, qemu_user: Option<&str>, address: Option<IpAddr>) -> Result<Exports> {
        kit::files::fits_socket(&Layout::new(&state_dir, &kit::ids::uuid()).qmp)?;
        let user = qemu_user.and_then(|name| nix::unistd::User::from_name(name).ok().flatten());
        let qemu_gid = user.as_ref().map(|user| user.gid.as_raw());
        let account = user.filter(|_| nix::unistd::geteuid().is_root()).map(|user| (user.uid.as_raw(), user.gid.as_raw()));
        if !state_dir.try_exists()? {
            std::fs::create_dir_all(&state_dir)?;
            // QEMU's user must come through to the sockets
            std::fs::set_permissions(&state_dir, std::fs::Permissions::from_mode(0o711))?;
        }
        for (dir, mode) in [("volumes", 0o700), ("nbd", 0o750)] {
            let path = state_dir.join(dir);
            std::fs::create_dir_all(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        }
        std::os::unix::fs::chown(state_dir.join("nbd"), None, qemu_gid)?;
        let gates = address.map(|address| Gates { address, account });
        Ok(Exports { state_dir, qemu_gid, gates, exporters: Mutex::default() })
    }

    /// Who serves a volume that is served.
    pub fn of(&self, volume_id: &str) -> Option<Exporter> {
        self.exporters.lock().unwrap_or_else(PoisonError::into_inner).get(volume_id).cloned()
    }

    /// Serves a volume for one use of it; `key` opens it if nobody serves it yet. Answers `connection_info`.
    pub async fn start(&self, volume_id: &str, layout: &Layout, key: Option<Secret>, export: Export) -> Result<Value> {
        if export.remote && self.gates.is_none() {
            return Err(Error::bad_request(format!("Volume {volume_id} is on a host that has no address for others.")));
        }
        let exporter = {
            let mut exporters = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
            let start = || Exporter::start(layout.clone(), self.qemu_gid, key, self.gates.clone());
            exporters.entry(volume_id.to_owned()).or_insert_with(start).clone()
        };
        if let Err(error) = exporter.apply(Change::Export(export.clone())).await {
            // an export nobody knows of must not keep a daemon
            self.end(volume_id, &export.attachment_id).await?;
            return Err(error);
        }
        let readonly = export.readonly;
        let mut info = json!({"driver_volume_type": "nbd", "data": {
            "export": export.attachment_id, "readonly": readonly, "volume_id": volume_id,
            "access_mode": if readonly { "ro" } else { "rw" }, "qos_specs": null, "encrypted": false,
        }});
        match self.gates.as_ref().filter(|_| export.remote) {
            None => info["data"]["socket_path"] = json!(layout.socket),
            Some(gates) => {
                let gate = gates.open(layout, &export).await?;
                info["data"]["host"] = json!(gate.host);
                info["data"]["port"] = json!(gate.port);
                info["data"]["auth_method"] = json!("PSK");
                info["data"]["auth_password"] = json!(gate.key);
            }
        }
        Ok(info)
    }

    pub async fn end(&self, volume_id: &str, attachment_id: &str) -> Result<()> {
        let Some(exporter) = self.of(volume_id) else { return Ok(()) };
        if exporter.withdraw(attachment_id).await? {
            self.exporters.lock().unwrap_or_else(PoisonError::into_inner).remove(volume_id);
        }
        Ok(())
    }

    /// Ends the daemons of volumes that nobody should reach, also those of an earlier process.
    pub async fn end_others(&self, exports: &[(String, Export)]) -> Result<()> {
        let (state_dir, wanted) = (self.state_dir.clone(), exports.to_vec());
        let end = move || {
            gate::end_all(&state_dir, |attachment| !wanted.iter().any(|(_, export)| export.remote && export.attachment_id == attachment));
            daemon::end_all(&state_dir, |volume_id| !wanted.iter().any(|(id, _)| id == volume_id));
        };
        tokio::task::spawn_blocking(end).await.map_err(Error::internal)
    }
}
