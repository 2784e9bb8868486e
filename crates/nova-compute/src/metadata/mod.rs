//! What a guest may know of itself, in the two forms guests ask for: OpenStack's documents and EC2's tree.
//!
//! [`Documents`] renders them, the same for the config drive as for the metadata service ([`service`]).

mod ec2;
mod network_data;
mod openstack;
pub mod service;
pub mod vendor_data;

use std::collections::BTreeMap;

use kit::Result;
use rpc::compute::InstanceMetadata;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

pub use self::vendor_data::VendorData;

/// Everything told to one guest.
#[derive(Clone, Debug)]
pub struct Documents {
    pub(crate) about: InstanceMetadata,
    /// Only a config drive carries it: the service could tell it to anybody in the guest, at any time.
    pub(crate) admin_password: Option<String>,
    /// base64 of random bytes, for a guest's entropy pool.
    pub(crate) random_seed: String,
    /// What the operator tells guests.
    pub(crate) vendor_data: VendorData,
    /// Of that, what those said who were asked about this guest.
    pub(crate) dynamic: OnceCell<Map<String, Value>>,
}

/// What a path of the metadata tree holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// The names in it, one a line.
    Listing(Vec<String>),
    Text(String),
    Bytes(Vec<u8>),
    Json(Value),
}

impl Documents {
    pub fn new(about: InstanceMetadata, admin_password: Option<String>, vendor_data: VendorData) -> Documents {
        use base64::Engine;
        let seed: Vec<u8> = std::iter::repeat_with(rand::random::<u8>).take(512).collect();
        let random_seed = base64::engine::general_purpose::STANDARD.encode(seed);
        Documents { about, admin_password, random_seed, vendor_data, dynamic: OnceCell::new() }
    }

    /// Asks those who know something of this guest, if there are any and nobody has asked yet; what they say is then in the documents.
    pub async fn ask_vendors(&self) -> Result<()> {
        let Some(dynamic) = &self.vendor_data.dynamic else { return Ok(()) };
        self.dynamic.get_or_try_init(|| dynamic.ask(&self.about.instance)).await.map(drop)
    }

    /// What is found at a path of the service: `openstack/latest/meta_data.json`, `latest/meta-data/hostname`. `address` is the guest's own.
    pub fn find(&self, path: &str, address: Option<&str>) -> Option<Node> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.split_first() {
            Some((&"openstack", rest)) => self.openstack(rest),
            _ => self.ec2(&parts, address),
        }
    }

    /// Whether a guest can give its password at this path.
    pub fn takes_password(&self, path: &str) -> bool {
        path.trim_end_matches('/').ends_with("/password") && matches!(self.find(path, None), Some(Node::Text(_)))
    }

    /// The files of a config drive.
    pub fn drive(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        self.openstack_files(&mut files)?;
        self.ec2_files(&mut files)?;
        Ok(files)
    }

    /// What the user gave for the guest to run.
    pub(crate) fn user_data(&self) -> Option<Vec<u8>> {
        self.about.instance.user_data.as_deref().map(decode)
    }

    pub(crate) fn hostname(&self) -> &str {
        &self.about.instance.hostname
    }
}

/// Decodes base64 as clients send it, broken into lines; what is no base64 is passed on as it is.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD.decode(compact).unwrap_or_else(|_| text.as_bytes().to_vec())
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;
    use rpc::compute::*;

    /// An instance with a bit of everything.
    pub fn documents() -> Documents {
        let address = InterfaceAddress {
            address: "10.0.0.5".parse().unwrap(),
            subnet_id: "subnet".into(),
            cidr: "10.0.0.0/24".into(),
            gateway: Some("10.0.0.1".parse().unwrap()),
            dns: vec!["10.0.0.2".parse().unwrap()],
            routes: vec![("192.168.0.0/16".into(), "10.0.0.9".parse().unwrap())],
            dhcp: true,
            floating_ips: vec!["172.24.4.7".parse().unwrap()],
        };
        let nic = NetworkInterface {
            port_id: "port".into(),
            network_id: "network".into(),
            network_name: "private".into(),
            mac_address: "fa:16:3e:00:00:05".into(),
            mtu: 1450,
            fixed_ips: vec![address],
            device_name: "cutport".into(),
            created_by_nova: true,
            tag: Some("front".into()),
            request_id: None,
        };
        let instance = Instance {
            id: "11111111-2222-3333-4444-555555555555".into(),
            instance_name: "instance-0000002a".into(),
            name: "My server".into(),
            hostname: "my-server".into(),
            project_id: "project".into(),
            user_id: "user".into(),
            host: Some("host".into()),
            availability_zone: Some("nova".into()),
            vm_state: "building".into(),
            task_state: None,
            power_state: 0,
            launch_index: 3,
            reservation_id: "r-1".into(),
            image_id: Some("image".into()),
            image_properties: BTreeMap::new(),
            kernel_id: None,
            ramdisk_id: None,
            flavor: Flavor {
                id: "1".into(),
                name: "m1.tiny".into(),
                vcpus: 1,
                ram_mb: 512,
                root_gb: 1,
                ephemeral_gb: 0,
                swap_mb: 0,
                extra_specs: BTreeMap::new(),
            },
            metadata: BTreeMap::from([("role".into(), "web".into())]),
            config_drive: true,
            user_data: Some("IyEvYmluL3No\n".into()),
            key: Some(KeyPair { name: "mine".into(), public_key: "ssh-ed25519 AAAA me".into(), key_type: "ssh".into() }),
            injected_files: vec![("/etc/motd".into(), "aGVsbG8=".into())],
            requested_networks: RequestedNetworks::Auto,
            security_groups: vec!["default".into()],
            block_devices: vec![],
            network_info: vec![nic],
            root_device_name: Some("/dev/vda".into()),
            scheduler_hints: serde_json::Value::Null,
            forced_host: None,
            boot_roles: "member,reader".into(),
            numa_wanted: None,
            numa: None,
            created_at: 0,
        };
        let floating_ips = BTreeMap::from([("10.0.0.5".parse().unwrap(), "172.24.4.7".parse().unwrap())]);
        let about = InstanceMetadata { instance, availability_zone: "nova".into(), floating_ips, password: None };
        let constant = Map::from_iter([("ntp".to_owned(), "10.0.0.3".into())]).into();
        Documents {
            about,
            admin_password: Some("secret".into()),
            random_seed: "c2VlZA==".into(),
            vendor_data: VendorData { constant, dynamic: None },
            dynamic: OnceCell::new(),
        }
    }
}
