//! What an operator may set: `cumulo.toml`, then the command line on top of it.
//!
//! Every key has a default; a key that is not here is refused, so that a typing error is not silently a default.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::apis::{Endpoints, Ports};
use crate::identity::Identity;
use crate::images::Images;
use crate::network::Network;
use crate::tls::Tls;
use crate::volumes::Volumes;

/// The whole configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address every API listens on.
    pub listen: IpAddr,
    /// The host name or address that clients are told in the catalog; the listen address when absent.
    pub public_host: Option<String>,
    /// The region of every endpoint.
    pub region: String,
    /// What all controllers of a cloud have in common: secrets, keystone's keys, images. The state directory when absent.
    pub shared_dir: Option<PathBuf>,
    /// `sqlite` (a file for each service in the state directory) or a `postgresql://` URL (a schema for each service).
    pub database: String,
    /// What the services' schemas in PostgreSQL are called before their names, where several clouds share a database.
    pub schema_prefix: String,
    /// The name of this host in the cloud; the machine's host name when absent.
    pub host: Option<String>,
    /// This machine's own address, at which other machines reach it; `public_host` when absent.
    pub address: Option<IpAddr>,
    /// Simulated hypervisors instead of this machine; 0 for real guests.
    pub sim_hosts: u32,
    /// What is logged, in the form of RUST_LOG: `info`, `warn`, `info,nova=debug`.
    pub log: String,
    /// Hours a token is valid.
    pub token_hours: u32,
    pub identity: Identity,
    pub bus: kit::bus::Config,
    pub ports: Ports,
    pub endpoints: Endpoints,
    pub tls: Tls,
    pub compute: Compute,
    pub network: Network,
    pub images: Images,
    pub volumes: Volumes,
}

/// How this host runs guests.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compute {
    /// `auto` (KVM when it really works, else TCG), `kvm` or `tcg`.
    pub accel: String,
    /// A file with a JSON object that every guest is told: `vendor_data.json` on its config drive and from the metadata service.
    pub vendordata_json: Option<PathBuf>,
    /// `NAME@URL` of services that are asked about each guest; their answers are below their names in `vendor_data2.json`.
    pub vendordata_dynamic_targets: Vec<String>,
    /// A PEM file with the authorities of those with https; whom this host trusts when absent.
    pub vendordata_dynamic_ssl_certfile: Option<PathBuf>,
    /// Seconds they may take to be reached, and to answer.
    pub vendordata_dynamic_connect_timeout: u64,
    pub vendordata_dynamic_read_timeout: u64,
    /// Whether a guest is rather not built than told nothing by one of them.
    pub vendordata_dynamic_failure_fatal: bool,
    /// What config drives are: `iso9660` or `vfat`.
    pub config_drive_format: nova_compute::config_drive::Format,
    /// This host's CPUs that guests may have for themselves, and those that they share: `0-3,^2`. All are shared when neither is set.
    pub cpu_dedicated_set: Option<String>,
    pub cpu_shared_set: Option<String>,
    /// Large pages that no guest gets: `node:0,size:2MB,count:64`.
    pub reserved_huge_pages: Vec<String>,
    /// The NUMA nodes of each simulated host, the threads of its cores, and the pages of 2 MiB in each node.
    pub sim_numa_cells: u32,
    pub sim_cpu_threads: u32,
    pub sim_huge_pages: u64,
    /// Seconds a build waits for its ports to be wired before it fails.
    pub vif_plugging_timeout: u64,
    /// Seconds after which a host that says nothing is down.
    pub service_down_time: u64,
    /// Seconds for which a deleted server can be restored; not at all when 0.
    pub reclaim_instance_interval: u64,
    /// Seconds after which a resize that nobody confirmed or reverted is confirmed; never when 0.
    pub resize_confirm_window: u64,
    /// Seconds after which a shelved server leaves its host; at once when 0, never when below.
    pub shelved_offload_time: i64,
    /// Seconds after which deleted servers are archived; by `cumulo nova-manage db archive` only when absent.
    pub archive_deleted_after: Option<u64>,
    /// Seconds after their deletion after which archived servers are removed for good; by `cumulo nova-manage db purge` only when absent.
    pub purge_archived_after: Option<u64>,
    /// What one unit of a host's inventory may be given out as.
    pub cpu_allocation_ratio: f64,
    pub ram_allocation_ratio: f64,
    pub disk_allocation_ratio: f64,
    /// Memory that a host keeps for itself, MB.
    pub reserved_host_memory_mb: i64,
    /// Whether the servers of each period are told as `instance.exists` when it is over: `hour`, `day`, `month` or `year`, `day@18` from 18 hours on.
    pub instance_usage_audit: bool,
    pub instance_usage_audit_period: nova::AuditPeriod,
    /// What the choice of hosts goes by.
    pub filter_scheduler: nova::FilterScheduler,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: IpAddr::from([127, 0, 0, 1]),
            public_host: None,
            region: "RegionOne".into(),
            shared_dir: None,
            database: "sqlite".into(),
            schema_prefix: String::new(),
            host: None,
            address: None,
            sim_hosts: 0,
            log: "info".into(),
            token_hours: 1,
            identity: Identity::default(),
            bus: kit::bus::Config::default(),
            ports: Ports::default(),
            endpoints: Endpoints::default(),
            tls: Tls::default(),
            compute: Compute::default(),
            network: Network::default(),
            images: Images::default(),
            volumes: Volumes::default(),
        }
    }
}

impl Default for Compute {
    fn default() -> Compute {
        let nova = nova::Config::default();
        Compute {
            accel: "auto".into(),
            vendordata_json: None,
            vendordata_dynamic_targets: Vec::new(),
            vendordata_dynamic_ssl_certfile: None,
            vendordata_dynamic_connect_timeout: 5,
            vendordata_dynamic_read_timeout: 5,
            vendordata_dynamic_failure_fatal: false,
            config_drive_format: nova_compute::config_drive::Format::default(),
            cpu_dedicated_set: None,
            cpu_shared_set: None,
            reserved_huge_pages: Vec::new(),
            sim_numa_cells: 1,
            sim_cpu_threads: 1,
            sim_huge_pages: 0,
            vif_plugging_timeout: 60,
            service_down_time: nova.service_down_time.as_secs(),
            reclaim_instance_interval: 0,
            resize_confirm_window: 0,
            shelved_offload_time: 0,
            archive_deleted_after: None,
            purge_archived_after: None,
            cpu_allocation_ratio: nova.cpu_allocation_ratio,
            ram_allocation_ratio: nova.ram_allocation_ratio,
            disk_allocation_ratio: nova.disk_allocation_ratio,
            reserved_host_memory_mb: nova.reserved_host_memory_mb,
            instance_usage_audit: false,
            instance_usage_audit_period: nova::AuditPeriod::default(),
            filter_scheduler: nova::FilterScheduler::default(),
        }
    }
}

impl Compute {
    /// As nova is told.
    pub fn of_nova(&self) -> nova::Config {
        let seconds = Duration::from_secs;
        nova::Config {
            service_down_time: seconds(self.service_down_time),
            reclaim_instance_interval: seconds(self.reclaim_instance_interval),
            resize_confirm_window: seconds(self.resize_confirm_window),
            shelved_offload_time: u64::try_from(self.shelved_offload_time).ok().map(seconds),
            archive_deleted_after: self.archive_deleted_after.map(seconds),
            purge_archived_after: self.purge_archived_after.map(seconds),
            cpu_allocation_ratio: self.cpu_allocation_ratio,
            ram_allocation_ratio: self.ram_allocation_ratio,
            disk_allocation_ratio: self.disk_allocation_ratio,
            reserved_host_memory_mb: self.reserved_host_memory_mb,
            instance_usage_audit: self.instance_usage_audit,
            instance_usage_audit_period: self.instance_usage_audit_period,
            filter_scheduler: self.filter_scheduler.clone().into(),
            ..nova::Config::default()
        }
    }
}

impl Config {
    /// Reads a file; the defaults when there is none at the usual place. An error is one sentence.
    pub fn load(named: Option<&Path>, state_dir: &Path) -> Result<Config, String> {
        let path = named.map_or_else(|| state_dir.join("cumulo.toml"), PathBuf::from);
        if named.is_none() && !path.exists() {
            return Ok(Config::default());
        }
        let text =
            std::fs::read_to_string(&path).map_err(|error| format!("The configuration {} cannot be read: {error}.", path.display()))?;
        let config: Config = toml::from_str(&text).map_err(|error| {
            let line = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default().matches('\n').count() + 1;
            format!("The configuration {} is wrong in line {line}: {}.", path.display(), error.message().replace('\n', " "))
        })?;
        config.check()?;
        Ok(config)
    }

    /// What the types cannot say.
    pub fn check(&self) -> Result<(), String> {
        if !matches!(self.compute.accel.as_str(), "auto" | "kvm" | "tcg") {
            return Err(format!("compute.accel is {:?}; it must be auto, kvm or tcg.", self.compute.accel));
        }
        let known = |url: &str| ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        if self.database != "sqlite" && !known(&self.database) {
            return Err(format!("database is {:?}; it must be sqlite or a postgresql:// URL.", self.database));
        }
        self.compute.vendordata_targets()?;
        self.compute.numa()?;
        self.bus.check()?;
        self.endpoints.check()?;
        self.tls.check()?;
        self.identity.check()?;
        if self.identity.url.is_some() && self.endpoints.keystone.is_some() {
            return Err("identity.url names a keystone of others, endpoints.keystone where ours is; there is only one.".into());
        }
        self.network.check()?;
        self.images.check()?;
        self.volumes.check()?;
        if self.token_hours == 0 {
            return Err("token_hours must be at least 1.".into());
        }
        if self.listen.is_unspecified() && self.public_host.is_none() {
            return Err(format!("With listen = {}, public_host must say which address clients are to use.", self.listen));
        }
        Ok(())
    }

    /// The host part of every URL in the catalog.
    pub fn public_host(&self) -> String {
        self.public_host.clone().unwrap_or_else(|| match self.listen {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        })
    }

    /// Where other machines reach this one.
    pub fn address(&self) -> String {
        self.address.map_or_else(|| self.public_host(), |address| address.to_string())
    }

    /// The name of this host in the cloud.
    pub fn host(&self) -> String {
        self.host.clone().unwrap_or_else(machine_name)
    }

    /// `http://HOST:PORT`, or https
    pub fn url(&self, port: u16) -> String {
        let scheme = if self.tls.enabled { "https" } else { "http" };
        format!("{scheme}://{}:{port}", self.public_host())
    }
}

fn machine_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apis::Api;

    fn read(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn defaults_stand_for_what_is_not_said() {
        let config = read("sim_hosts = 3\n[ports]\nnova = 18774\n").unwrap();
        assert_eq!((config.sim_hosts, config.ports.nova, config.ports.keystone), (3, 18774, 5000));
        assert_eq!(config.endpoint(Api::Nova), "http://127.0.0.1:18774");
    }

    #[test]
    fn apis_may_be_elsewhere() {
        let config = read("public_host = '10.0.0.1'\naddress = '10.0.0.2'\n[endpoints]\nglance = 'http://10.0.0.9:9292/'\n").unwrap();
        assert_eq!(config.endpoint(Api::Glance), "http://10.0.0.9:9292");
        assert_eq!(config.endpoint(Api::Keystone), "http://10.0.0.1:5000");
        assert_eq!(config.address(), "10.0.0.2");
        let config = read("[identity]\nurl = 'https://k/identity/v3'\nservice_password = 'p'\n").unwrap();
        assert_eq!(config.endpoint(Api::Keystone), "https://k/identity");
        assert_eq!(config.endpoint(Api::Nova), "http://127.0.0.1:8774");
    }

    /// Two stores of images beside the files.
    fn buckets(one: &str, other: &str) -> String {
        let bucket = "endpoint = 'http://s3'\nbucket = 'b'\naccess_key = 'k'\nsecret_key = 's'";
        format!("[images.s3]\nid = '{one}'\n{bucket}\n[[images.stores]]\nid = '{other}'\n{bucket}\ndefault = true\n")
    }

    #[test]
    fn images_may_be_in_several_buckets() {
        let config = read(&buckets("near", "far")).unwrap();
        let mut settings = glance::Config::new(kit::db::Location::Sqlite("g".into()), "images".into());
        config.images.apply(&mut settings, None);
        assert_eq!(settings.stores.iter().map(|store| store.id.as_str()).collect::<Vec<_>>(), ["far", "file", "near"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("lisen = '::1'", "lisen"),
            ("[compute]\naccel = 'fast'", "accel"),
            ("database = 'mysql://x'", "database"),
            ("[compute]\nvendordata_dynamic_targets = ['http://x']", "lacks a name"),
            ("[compute]\nvendordata_dynamic_targets = ['a@http://x', 'a@http://y']", "twice"),
            ("[compute]\nvendordata_dynamic_targets = ['a@x']", "no http"),
            ("[compute]\nconfig_drive_format = 'ext4'", "ext4"),
            ("[compute]\ncpu_dedicated_set = '3-1'", "Invalid range expression '3-1'"),
            ("[compute]\ncpu_shared_set = '^1'", "No CPUs available"),
            ("[compute]\ncpu_dedicated_set = '1-3'\ncpu_shared_set = '0-1'", "both"),
            ("[compute]\nreserved_huge_pages = ['node:0,size:2M,count:1']", "reserved_huge_pages"),
            ("[bus]\nurl = 'http://x'", "bus.url"),
            ("[endpoints]\nnova = 'x:8774'", "endpoints.nova"),
            ("[tls]\nenabled = true\nkey = 'k'", "tls.certificate"),
            ("[identity]\nurl = 'k:5000'", "identity.url"),
            ("[identity]\nurl = 'https://k:5000'", "identity.service_password"),
            ("[identity]\nservice_password = 'p'", "identity.url"),
            ("[identity]\nurl = 'https://k'\nservice_password = 'p'\n[endpoints]\nkeystone = 'http://o:5000'", "endpoints.keystone"),
            ("[images]\nconvert_to = 'vmdk'", "convert_to"),
            (buckets("file", "more").as_str(), "file"),
            (buckets("s3", "a,b").as_str(), "a,b"),
            (buckets("a", "a").as_str(), "\"a\""),
            ("[network]\nphysical_mtu = 100", "physical_mtu"),
            ("[network]\nvlan_ranges = ['public:5:4']", "vlan_ranges"),
            ("[[network.physical_networks]]\nname = 'public'", "public"),
            ("[[network.physical_networks]]\nname = 'a'\n[[network.physical_networks]]\nname = 'a'", "twice"),
            ("[[volumes.backends]]\nname = 'file'", "file"),
            ("[[volumes.backends]]\nname = 'a'\n[[volumes.backends]]\nname = 'a'", "twice"),
            ("[[volumes.backends]]\nname = '../a'", "../a"),
            ("[[volumes.backends]]\nname = 'a'\ndriver = 'iscsi'", "iscsi"),
            ("[[volumes.backends]]\nname = 'a'\ndriver = 'rbd'", "pool"),
            ("[[volumes.backends]]\nname = 'a'\npool = 'p'", "another driver"),
            ("[[volumes.backends]]\nname = 'a'\ndriver = 'lvm'\nvolume_group = '../v'", "no name"),
            ("listen = '0.0.0.0'", "public_host"),
        ] {
            assert!(read(text).unwrap_err().contains(word), "{text}");
        }
    }
}
