//! `[images]` of `cumulo.toml`: where glance keeps images, and from where users may have them downloaded.

use std::net::IpAddr;
use std::time::Duration;

use glance::{DiskFormat, Limits, StoreConfig};
use outside::objects::Place;
use outside::web::Rules;
use serde::{Deserialize, Serialize};

/// How images are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Images {
    /// Bytes an image may have.
    pub size_cap: u64,
    /// Refuse a file that is not what its disk_format says.
    pub require_format_match: bool,
    /// `raw` or `qcow2`: what imported images are converted to.
    pub convert_to: Option<String>,
    /// Seconds for which the data of deleted images stays and can be brought back; it goes at once when absent.
    pub scrub_time: Option<u64>,
    /// Tell clients where images are, and let them add and remove places.
    pub show_image_direct_url: bool,
    pub show_multiple_locations: bool,
    /// Let users import images of other regions' glances, which are in the catalog.
    pub glance_download: bool,
    /// A bucket beside the files of this host, and more of them.
    pub s3: Option<S3>,
    pub stores: Vec<S3>,
    pub quota: Quota,
    /// Take what projects may have from keystone's registered limits of the image service, instead.
    pub use_keystone_limits: bool,
    pub web: Web,
}

/// A bucket of an S3 server as a store.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// What users call it.
    #[serde(default = "s3")]
    pub id: String,
    pub endpoint: String,
    pub bucket: String,
    #[serde(default = "crate::bucket::region")]
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
    /// Images go there unless somebody names another store.
    #[serde(default)]
    pub default: bool,
}

fn s3() -> String {
    "s3".into()
}

/// What each project may have; no limit where there is none.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    pub image_size_total: Option<u64>,
    pub image_stage_total: Option<u64>,
    pub image_count_total: Option<u64>,
    pub image_count_uploading: Option<u64>,
}

/// From where users may have images downloaded. Whatever is listed, nothing internal can be reached but the mirrors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Web {
    /// All hosts when empty.
    pub allowed_hosts: Vec<String>,
    pub disallowed_hosts: Vec<String>,
    pub ports: Vec<u16>,
    pub internal_mirrors: Vec<IpAddr>,
}

impl std::fmt::Debug for S3 {
    /// The keys are nobody's to see.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("endpoint", &self.endpoint).field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl Default for Images {
    fn default() -> Images {
        Images {
            size_cap: 1 << 40,
            require_format_match: true,
            convert_to: None,
            scrub_time: None,
            show_image_direct_url: false,
            show_multiple_locations: false,
            glance_download: false,
            s3: None,
            stores: Vec::new(),
            quota: Quota::default(),
            use_keystone_limits: false,
            web: Web::default(),
        }
    }
}

impl Default for Web {
    fn default() -> Web {
        Web { allowed_hosts: Vec::new(), disallowed_hosts: Vec::new(), ports: vec![80, 443], internal_mirrors: Vec::new() }
    }
}

impl Images {
    /// What the types cannot say.
    pub fn check(&self) -> Result<(), String> {
        let mut ids = vec!["file"];
        for S3 { id, .. } in self.buckets() {
            if id.is_empty() || id.contains(',') || ids.contains(&id.as_str()) {
                return Err(format!("images.stores: {id:?} must be a name of its own, without commas; `file` is the files of this host."));
            }
            ids.push(id);
        }
        if self.buckets().filter(|s3| s3.default).count() > 1 {
            return Err("images.stores: only one can be the default.".into());
        }
        match self.convert_to.as_deref() {
            None | Some("raw" | "qcow2") => Ok(()),
            Some(other) => Err(format!("images.convert_to is {other:?}; it must be raw or qcow2.")),
        }
    }

    fn buckets(&self) -> impl Iterator<Item = &S3> {
        self.s3.iter().chain(&self.stores)
    }

    /// Tells glance. `node` is what this process is called among those that share its database.
    pub fn apply(&self, settings: &mut glance::Config, node: Option<String>) {
        settings.image_size_cap = self.size_cap;
        settings.require_image_format_match = self.require_format_match;
        settings.convert_to = self.convert_to.as_deref().map(|name| if name == "raw" { DiskFormat::Raw } else { DiskFormat::Qcow2 });
        settings.delayed_delete = self.scrub_time.map(Duration::from_secs);
        settings.show_image_direct_url = self.show_image_direct_url;
        settings.show_multiple_locations = self.show_multiple_locations;
        settings.limits = Limits {
            image_size_total: self.quota.image_size_total,
            image_stage_total: self.quota.image_stage_total,
            image_count_total: self.quota.image_count_total,
            image_count_uploading: self.quota.image_count_uploading,
        };
        settings.web = Rules {
            allowed_hosts: self.web.allowed_hosts.clone(),
            disallowed_hosts: self.web.disallowed_hosts.clone(),
            ports: self.web.ports.clone(),
            internal_mirrors: self.web.internal_mirrors.clone(),
            ..Rules::default()
        };
        if let Some(node) = node {
            settings.node = node;
        }
        for s3 in self.buckets() {
            let place = Place::S3(outside::objects::S3 {
                endpoint: s3.endpoint.clone(),
                bucket: s3.bucket.clone(),
                region: s3.region.clone(),
                access_key: s3.access_key.clone(),
                secret_key: s3.secret_key.clone(),
            });
            let store = StoreConfig { id: s3.id.clone(), description: format!("Bucket {}", s3.bucket), read_only: false, place };
            let at = if s3.default { 0 } else { settings.stores.len() };
            settings.stores.insert(at, store);
        }
    }
}
