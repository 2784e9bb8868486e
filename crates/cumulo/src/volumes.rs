//! `[volumes]`: the places that keep volumes beside the state directory's own.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;

/// What every cloud has: on real hosts and on simulated ones.
pub const FILE: &str = "file";
pub const SIM: &str = "sim";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Volumes {
    /// Further backends; a volume type asks for one with `volume_backend_name`.
    pub backends: Vec<Backend>,
    /// Where backups are kept; beside the volumes when absent.
    pub backup_bucket: Option<Bucket>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Its name in `HOST@NAME`.
    pub name: String,
    /// Where its volumes are: a directory that is its alone. `backends/NAME` in the state directory when absent.
    pub directory: Option<PathBuf>,
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
    pub fn directory(&self, state_dir: &Path) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| state_dir.join("backends").join(&self.name))
    }
}
