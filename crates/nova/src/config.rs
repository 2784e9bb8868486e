//! What can be set about nova.

use std::sync::Arc;
use std::time::Duration;

use kit::flow::ProbeFn;

use crate::AuditPeriod;
use crate::scheduler::FilterScheduler;

/// Nova's settings.
#[derive(Clone)]
pub struct Config {
    /// Whether long actions are run by this process; else its API leaves them to the conductors.
    pub conduct: bool,
    /// Items of a page, at most.
    pub max_limit: u64,
    /// The zone of hosts that are in no other.
    pub default_zone: String,
    /// A host that says nothing for so long is down.
    pub service_down_time: Duration,
    /// How long a host may take to build a server.
    pub build_timeout: Duration,
    /// How often conductor looks after a build it has heard nothing of.
    pub build_look: Duration,
    /// How long a host may take to end a guest.
    pub terminate_timeout: Duration,
    /// How long a host may take for an action on a guest it has.
    pub action_timeout: Duration,
    /// How long a host may take to move or upload the disks of a guest.
    pub transfer_timeout: Duration,
    /// A resize is confirmed by itself after so long; never when zero.
    pub resize_confirm_window: Duration,
    /// A shelved server leaves its host after so long; at once when zero, never when `None`.
    pub shelved_offload_time: Option<Duration>,
    /// A deleted server can be restored for so long; not at all when zero.
    pub reclaim_instance_interval: Duration,
    /// A deleted server is archived after so long; only by hand when `None`.
    pub archive_deleted_after: Option<Duration>,
    /// An archived server is removed for good so long after its deletion; only by hand when `None`.
    pub purge_archived_after: Option<Duration>,
    /// How often nova looks for what is overdue, stuck or not as placement has it.
    pub upkeep_interval: Duration,
    /// A task that nobody works on is stuck after so long.
    pub stuck_after: Duration,
    /// Hosts tried for one server, at most.
    pub max_attempts: usize,
    /// Servers on a host, and such of them with which something is being done, at most; aggregates may say otherwise.
    pub max_instances_per_host: Option<usize>,
    pub max_io_ops_per_host: Option<usize>,
    /// What the choice of hosts goes by.
    pub filter_scheduler: Arc<FilterScheduler>,
    /// What one unit of a host's inventory may be given out as.
    pub cpu_allocation_ratio: f64,
    pub ram_allocation_ratio: f64,
    pub disk_allocation_ratio: f64,
    /// What a host keeps for itself.
    pub reserved_host_memory_mb: i64,
    /// Whether the servers of each period are told as `instance.exists` when it is over, and how long a period is.
    pub instance_usage_audit: bool,
    pub instance_usage_audit_period: AuditPeriod,
    /// Where tests make flows fail.
    pub probe: Option<ProbeFn>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            conduct: true,
            max_limit: 1000,
            default_zone: "nova".into(),
            service_down_time: Duration::from_secs(60),
            build_timeout: Duration::from_secs(900),
            build_look: Duration::from_secs(5),
            terminate_timeout: Duration::from_secs(120),
            action_timeout: Duration::from_secs(600),
            transfer_timeout: Duration::from_secs(3600),
            resize_confirm_window: Duration::ZERO,
            shelved_offload_time: Some(Duration::ZERO),
            reclaim_instance_interval: Duration::ZERO,
            archive_deleted_after: None,
            purge_archived_after: None,
            upkeep_interval: Duration::from_secs(60),
            stuck_after: Duration::from_secs(600),
            max_attempts: 3,
            max_instances_per_host: None,
            max_io_ops_per_host: None,
            filter_scheduler: Arc::default(),
            cpu_allocation_ratio: 4.0,
            ram_allocation_ratio: 1.0,
            disk_allocation_ratio: 1.0,
            reserved_host_memory_mb: 0,
            instance_usage_audit: false,
            instance_usage_audit_period: AuditPeriod::default(),
            probe: None,
        }
    }
}
