//! `[volumes]`: the places that keep volumes beside the state directory's own: files, Ceph pools, LVM thin pools.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;

/// What every cloud has: on real hosts and on simulated ones.
pub const FILE: &str = "file";
pub const SIM: &str = "sim";

/// Cinder's `rbd_max_clone_depth`.
const CLONE_DEPTH: usize = 5;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Volumes {
    /// Further backends; a volume type asks for one with `volume_backend_name`.
    pub backends: Vec<Backend>,
    /// Where backups are kept; beside the volumes when absent.
    pub backup_bucket: Option<Bucket>,
    /// Where this machine has its Ceph clusters' configuration and keyrings: `CLUSTER.conf`, `CLUSTER.client.USER.keyring`.
    pub ceph_directory: PathBuf,
}

impl Driver {
    /// The programs it needs beside those of every host, each with its package.
    pub fn programs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Driver::File => &[],
            Driver::Rbd => &[("rbd", "ceph-common"), ("ceph", "ceph-common")],
            Driver::Lvm => &[("lvs", "lvm2"), ("blkdiscard", "util-linux")],
        }
    }
}

impl Default for Volumes {
    fn default() -> Volumes {
        Volumes { backends: Vec::new(), backup_bucket: None, ceph_directory: "/etc/ceph".into() }
    }
}

/// What keeps a backend's volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    #[default]
    File,
    Rbd,
    Lvm,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Its name in `HOST@NAME`.
    pub name: String,
    #[serde(default)]
    pub driver: Driver,
    /// Where its volumes are, or what of them is on this machine: a directory that is its alone. `backends/NAME` in the state directory when
    /// absent.
    pub directory: Option<PathBuf>,
    /// `rbd`: which Ceph pool, and as whom it is used (`cinder` if absent) in which cluster (`ceph` if absent). The configuration and the
    /// user's keyring are in `ceph_directory`, unless `ceph_conf` is the former.
    pub pool: Option<String>,
    pub user: Option<String>,
    pub cluster_name: Option<String>,
    pub ceph_conf: Option<PathBuf>,
    /// `rbd`: what libvirt's hosts know the user's key by; the cluster's id if absent.
    pub secret_uuid: Option<String>,
    /// `rbd`: whether volumes from snapshots hold all their data themselves, and on how many others a clone may stand (5 if absent, 0 for
    /// any number) before it does.
    #[serde(default)]
    pub flatten_volume_from_snapshot: bool,
    pub max_clone_depth: Option<usize>,
    /// `lvm`: the volume group, and its thin pool, which is made if it is not there (`VOLUME_GROUP-pool` if absent).
    pub volume_group: Option<String>,
    pub pool_name: Option<String>,
    /// Which volumes it is for, and how welcome each is there (0 to 100): `volume.size < 100`.
    #[serde(default)]
    pub filter_function: Option<String>,
    #[serde(default)]
    pub goodness_function: Option<String>,
    /// How many times what it has it may promise to volumes, which are thin (20 if absent), and how much of it, in percent, is for none.
    #[serde(default)]
    pub max_over_subscription_ratio: Option<f64>,
    #[serde(default)]
    pub reserved_percentage: Option<i64>,
    /// Its availability zone, if it is not the cloud's.
    #[serde(default)]
    pub availability_zone: Option<String>,
}

impl Volumes {
    /// What the types cannot say.
    pub fn check(&self) -> Result<(), String> {
        for (index, backend) in self.backends.iter().enumerate() {
            let name = &backend.name;
            let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
            if !plain || name == FILE || name == SIM {
                return Err(format!("volumes.backends: {name:?} is taken or no name of letters, digits and dashes."));
            }
            if self.backends.iter().take(index).any(|other| other.name == *name) {
                return Err(format!("volumes.backends: {name:?} is there twice."));
            }
            if backend.directory.as_ref().is_some_and(|directory| !directory.is_absolute()) {
                return Err(format!("volumes.backends: the directory of {name:?} must be an absolute path."));
            }
            backend.check_driver()?;
            if backend.max_over_subscription_ratio.is_some_and(|ratio| !(1.0..=1000.0).contains(&ratio)) {
                return Err(format!("volumes.backends: the max_over_subscription_ratio of {name:?} must be 1 to 1000."));
            }
            if backend.reserved_percentage.is_some_and(|percentage| !(0..=100).contains(&percentage)) {
                return Err(format!("volumes.backends: the reserved_percentage of {name:?} must be 0 to 100."));
            }
        }
        Ok(())
    }
}

impl Volumes {
    /// The place for backups, if it is not beside the volumes.
    pub fn shelf(&self) -> Result<Option<cinder_volume::Shelf>, String> {
        let Some(bucket) = &self.backup_bucket else { return Ok(None) };
        let opened = outside::bucket::Bucket::open(&bucket.s3());
        opened.map(|bucket| Some(cinder_volume::Shelf::new(bucket))).map_err(|error| format!("volumes.backup_bucket: {error}."))
    }

    /// What the cinder-volume of a backend is told.
    pub fn settings(&self, host: &str, name: &str) -> cinder_volume::Config {
        let backend = self.backends.iter().find(|backend| backend.name == name);
        cinder_volume::Config {
            host: format!("{host}@{name}"),
            filter_function: backend.and_then(|backend| backend.filter_function.clone()),
            goodness_function: backend.and_then(|backend| backend.goodness_function.clone()),
            max_over_subscription_ratio: backend.and_then(|backend| backend.max_over_subscription_ratio),
            reserved_percentage: backend.and_then(|backend| backend.reserved_percentage),
            availability_zone: backend.and_then(|backend| backend.availability_zone.clone()),
        }
    }
}

impl Backend {
    /// What a driver must be told, and what is for another.
    fn check_driver(&self) -> Result<(), String> {
        let told = |wanted: Driver, key: &str, value: &Option<String>| match (self.driver == wanted, value) {
            (true, None) => Err(format!("volumes.backends: {:?} must say its {key}.", self.name)),
            (false, Some(_)) => Err(format!("volumes.backends: {:?} has a {key}, but another driver.", self.name)),
            (true, Some(value)) if !is_plain(value) => Err(format!("volumes.backends: the {key} of {:?} is no name.", self.name)),
            _ => Ok(()),
        };
        told(Driver::Rbd, "pool", &self.pool)?;
        told(Driver::Lvm, "volume_group", &self.volume_group)?;
        let names = [&self.user, &self.cluster_name, &self.pool_name];
        match names.into_iter().flatten().find(|name| !is_plain(name)) {
            Some(name) => Err(format!("volumes.backends: {name:?} of {:?} is no name.", self.name)),
            None => Ok(()),
        }
    }

    /// The Ceph pool of `driver = "rbd"`.
    pub fn rbd(&self, directory: &Path) -> cinder_volume::RbdConfig {
        let word = |value: &Option<String>, usual: &str| value.clone().unwrap_or_else(|| usual.to_owned());
        let (ceph, cluster_name) = (cinder_volume::CephDir(directory.to_owned()), word(&self.cluster_name, "ceph"));
        cinder_volume::RbdConfig {
            pool: word(&self.pool, ""),
            user: word(&self.user, "cinder"),
            ceph_conf: self.ceph_conf.clone().unwrap_or_else(|| ceph.conf(&cluster_name)),
            cluster_name,
            secret_uuid: self.secret_uuid.clone(),
            flatten_volume_from_snapshot: self.flatten_volume_from_snapshot,
            max_clone_depth: self.max_clone_depth.unwrap_or(CLONE_DEPTH),
            ceph,
        }
    }

    /// The thin pool of `driver = "lvm"`.
    pub fn lvm(&self) -> cinder_volume::LvmConfig {
        let volume_group = self.volume_group.clone().unwrap_or_default();
        let pool_name = self.pool_name.clone().unwrap_or_else(|| format!("{volume_group}-pool"));
        cinder_volume::LvmConfig { volume_group, pool_name }
    }

    pub fn directory(&self, state_dir: &Path) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| state_dir.join("backends").join(&self.name))
    }
}

/// A name that is one word of a command line and of a path, whatever the program.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_cinder_has_it() {
        let text = "[[backends]]\nname = 'ceph'\ndriver = 'rbd'\npool = 'volumes'\n[[backends]]\nname = 'thin'\ndriver = 'lvm'\nvolume_group = 'vg'";
        let volumes: Volumes = toml::from_str(text).unwrap();
        volumes.check().unwrap();
        let rbd = volumes.backends[0].rbd(&volumes.ceph_directory);
        assert_eq!((rbd.user.as_str(), rbd.cluster_name.as_str(), rbd.max_clone_depth), ("cinder", "ceph", 5));
        assert_eq!(rbd.ceph_conf, Path::new("/etc/ceph/ceph.conf"));
        assert_eq!(volumes.backends[1].lvm().pool_name, "vg-pool");
    }
}
