//! What a host of the tests does with guests that exist.

use kit::bus::Handlers;
use rpc::actions::{
    ConfirmResize, ConsoleAccess, ExtendVolume, FinishResize, FinishRevertResize, GetConsole, GetDiagnostics, InjectNmi, OfferedDisks,
    PrepResize, RebuildInstance, RescueInstance, ResizeInstance, RevertResize, SetAdminPassword, ShelveInstance, ShelveOffloadInstance,
    SnapshotInstance, SwapVolume, UnrescueInstance, UnshelveInstance,
};
use rpc::compute::{AttachInterface, AttachVolume, DetachInterface, DetachVolume, GetConsoleOutput, NetworkInterface};
use rpc::conductor::{GetInstance, SaveInstance, SavedBlockDevice, TOPIC};
use rpc::live_migration::{
    ABORTED, Departure, DescribeGuest, ForgetDeparted, LandGuest, Landing, LiveMigration, MigrationProgress, PostLiveMigration,
    PreLiveMigration, Progress, RollbackLiveMigration, Urge, UrgeLiveMigration,
};
use serde_json::json;

use super::{Behaviour, FakeHost, NETWORK};

/// Adds the answers to everything but builds and power.
pub fn handlers(handlers: Handlers, host: &FakeHost) -> Handlers {
    macro_rules! on {
        ($handlers:expr, $($message:ty => |$host:ident, $m:ident| $body:expr),+ $(,)?) => {
            $handlers$(.on({
                let host = host.clone();
                move |$m: $message| {
                    let $host = host.clone();
                    async move { $body }
                }
            }))+
        };
    }
    on!(handlers,
        RescueInstance => |host, m| host.ends(&m.instance_id, "rescued", 1).await,
        UnrescueInstance => |host, m| host.ends(&m.instance_id, "active", 1).await,
        RebuildInstance => |host, m| host.ends(&m.instance_id, "active", 1).await,
        SnapshotInstance => |host, m| host.fills(&m.image_id),
        ShelveInstance => |host, m| m.image_id.map_or(Ok(()), |image| host.fills(&image)),
        ShelveOffloadInstance => |host, m| host.leaves(&m.instance_id),
        UnshelveInstance => |host, m| {
            host.arrives(&m.instance_id)?;
            host.ends(&m.instance_id, "active", 1).await
        },
        PrepResize => |host, _m| host.can(),
        ResizeInstance => |host, m| {
            host.leaves(&m.instance_id)?;
            Ok(OfferedDisks { running: true, disks: Vec::new() })
        },
        FinishResize => |host, m| host.arrives(&m.instance_id),
        ConfirmResize => |_host, _m| Ok(()),
        RevertResize => |host, m| host.leaves(&m.instance_id),
        FinishRevertResize => |host, m| host.arrives(&m.instance_id),
        DescribeGuest => |_host, _m| Ok(Departure::default()),
        PreLiveMigration => |host, _m| host.can().map(|()| Landing::default()),
        LiveMigration => |host, m| {
            let progress = Progress { memory_total: 128, memory_processed: 64, memory_remaining: 64, ..Progress::default() };
            host.bus.cast(TOPIC, MigrationProgress { migration_id: m.migration_id, progress }).await?;
            host.travels(&m.instance_id).await?;
            host.leaves(&m.instance_id)
        },
        LandGuest => |host, m| host.arrives(&m.instance_id),
        PostLiveMigration => |host, m| host.arrives(&m.instance_id),
        ForgetDeparted => |host, m| host.leaves(&m.instance_id),
        RollbackLiveMigration => |host, m| host.leaves(&m.instance_id),
        UrgeLiveMigration => |host, m| {
            host.urges.lock().unwrap().insert(m.instance_id, m.urge);
            Ok(())
        },
        ExtendVolume => |host, _m| host.can(),
        AttachVolume => |host, m| {
            let device = SavedBlockDevice { connection_info: Some(json!({})), ..device(m.bdm_id) };
            host.call(SaveInstance { block_devices: vec![device], ..host.save(&m.instance_id) }).await?;
            Ok("/dev/vdb".to_owned())
        },
        DetachVolume => |host, m| host.disconnects(&m.instance_id, &m.bdm_id).await,
        SwapVolume => |host, m| {
            host.disconnects(&m.instance_id, &m.bdm_id).await?;
            let (volume_id, attachment_id) = (Some(m.new_volume_id), Some(m.new_attachment_id));
            let device = SavedBlockDevice { volume_id, attachment_id, ..device(m.bdm_id) };
            let change = SaveInstance { block_devices: vec![device], ..host.save(&m.instance_id) };
            host.call(change).await.map(drop)
        },
        SetAdminPassword => |host, _m| host.can(),
        InjectNmi => |host, _m| host.can(),
        GetDiagnostics => |_host, _m| Ok(json!({"state": "running", "driver": "fake", "memory_details": {"maximum": 128, "used": 1}})),
        GetConsole => |host, m| Ok(ConsoleAccess {
            url: format!("http://{}:6080/?token=t-{}", host.name, m.instance_id),
            token: format!("t-{}", m.instance_id),
            host: host.name.clone(),
            port: 5900,
            expires_at: kit::clock::Timestamp::now().secs() + 60,
        }),
        GetConsoleOutput => |_host, _m| Ok("login:".to_owned()),
        AttachInterface => |host, m| {
            let mut nics = host.nics(&m.instance_id).await?;
            if let Some(nic) = nics.iter().find(|nic| nic.request_id.as_ref() == Some(&m.caller.request_id)) {
                return Ok(nic.clone());
            }
            let port = m.requested.port_id.unwrap_or_else(kit::ids::uuid);
            host.neighbours.0.lock().unwrap().ports.insert(port.clone(), m.instance_id.clone());
            let nic = NetworkInterface {
                port_id: port,
                network_id: NETWORK.into(),
                network_name: "private".into(),
                mac_address: "fa:16:3e:00:00:01".into(),
                mtu: 1450,
                fixed_ips: Vec::new(),
                device_name: "tap".into(),
                created_by_nova: true,
                tag: m.requested.tag,
                request_id: Some(m.caller.request_id),
            };
            nics.push(nic.clone());
            let change = SaveInstance { network_info: Some(nics), ..host.save(&m.instance_id) };
            host.call(change).await?;
            Ok(nic)
        },
        DetachInterface => |host, m| {
            host.neighbours.0.lock().unwrap().ports.remove(&m.port_id);
            let mut nics = host.nics(&m.instance_id).await?;
            nics.retain(|nic| nic.port_id != m.port_id);
            let change = SaveInstance { network_info: Some(nics), ..host.save(&m.instance_id) };
            host.call(change).await.map(drop)
        },
    )
}

/// What a host saves of a volume, of which nothing changed.
fn device(bdm_id: String) -> SavedBlockDevice {
    SavedBlockDevice { bdm_id, device_name: None, volume_id: None, attachment_id: None, connection_info: None }
}

impl FakeHost {
    async fn nics(&self, id: &str) -> kit::Result<Vec<NetworkInterface>> {
        Ok(self.call(GetInstance { instance_id: id.to_owned() }).await?.map(|instance| instance.network_info).unwrap_or_default())
    }

    /// Ends the attachment of a volume.
    async fn disconnects(&self, id: &str, bdm_id: &str) -> kit::Result<()> {
        let instance = self.call(GetInstance { instance_id: id.to_owned() }).await?;
        let devices = instance.map(|instance| instance.block_devices).unwrap_or_default();
        let attachment = devices.into_iter().find(|device| device.bdm_id == bdm_id).and_then(|device| device.attachment_id);
        self.neighbours.0.lock().unwrap().attachments.remove(&attachment.unwrap_or_default());
        Ok(())
    }

    /// Hosts that hang let guests travel until they are told what to do.
    async fn travels(&self, id: &str) -> kit::Result<()> {
        while self.hosts.lock().unwrap()[&self.name] == Behaviour::Hang {
            match self.urges.lock().unwrap().get(id) {
                Some(Urge::Complete) => break,
                Some(Urge::Abort) => return Err(kit::Error::conflict("The migration was aborted.").code(ABORTED)),
                Some(Urge::None) | None => {}
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn can(&self) -> kit::Result<()> {
        match self.hosts.lock().unwrap()[&self.name] {
            Behaviour::Run | Behaviour::Hang => Ok(()),
            Behaviour::Refuse | Behaviour::Fail => Err(kit::Error::conflict(format!("{} cannot", self.name))),
        }
    }

    fn leaves(&self, id: &str) -> kit::Result<()> {
        self.guests.lock().unwrap().retain(|(host, guest)| *host != self.name || guest != id);
        Ok(())
    }

    fn arrives(&self, id: &str) -> kit::Result<()> {
        self.leaves(id)?;
        self.guests.lock().unwrap().push((self.name.clone(), id.to_owned()));
        Ok(())
    }

    fn fills(&self, image: &str) -> kit::Result<()> {
        if let Some(image) = self.neighbours.0.lock().unwrap().images.get_mut(image) {
            image["status"] = json!("active");
        }
        Ok(())
    }

    async fn ends(&self, id: &str, vm_state: &str, power: u8) -> kit::Result<()> {
        let change = SaveInstance { vm_state: Some(vm_state.into()), task_state: Some(None), power_state: Some(power), ..self.save(id) };
        self.call(change).await.map(drop)
    }
}
