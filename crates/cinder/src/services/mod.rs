//! The processes of block storage, as their heartbeats tell, and the room on their hosts.

pub mod api;
pub mod freeze;
pub mod hosts;
pub mod logs;
pub mod store;

use std::time::Duration;

use kit::clock::Timestamp;
use sea_orm::entity::prelude::*;

/// Who has not been heard of for so long is down.
const SILENCE: Duration = Duration::from_secs(60);

/// How many times what it has a host may promise, if its operator does not say.
const OVERSUBSCRIPTION: f64 = 20.0;

/// The service that makes backups on a host.
pub const BACKUP: &str = "cinder-backup";

/// A row of `services`.
#[derive(Clone, Debug, Default, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "services")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub host: String,
    /// `cinder-volume`, `cinder-backup` or `cinder-scheduler`
    pub kind: String,
    pub availability_zone: String,
    pub disabled: bool,
    pub disabled_reason: Option<String>,
    pub total_gb: f64,
    pub free_gb: f64,
    pub protocol: String,
    pub seen_at: Timestamp,
    pub updated_at: Timestamp,
    /// It gets nothing new.
    pub frozen: bool,
    /// Which volumes it is for, and how glad it is of one: see [`crate::scheduler`].
    pub filter_function: Option<String>,
    pub goodness_function: Option<String>,
    /// How many times what it has it may promise, and how much of it, in percent, is for no volume.
    pub max_over_subscription_ratio: Option<f64>,
    pub reserved_percentage: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The backend in `HOST@BACKEND`.
    pub fn backend(&self) -> &str {
        self.host.rsplit('@').next().unwrap_or_default()
    }

    pub fn oversubscription(&self) -> f64 {
        self.max_over_subscription_ratio.unwrap_or(OVERSUBSCRIPTION)
    }

    pub fn reserved(&self) -> i64 {
        self.reserved_percentage.unwrap_or_default()
    }

    pub fn is_up(&self) -> bool {
        Timestamp::now().since(self.seen_at) < SILENCE
    }
}
