//! The arithmetic of usage: pure.

use kit::clock::Timestamp;
use serde::Serialize;

/// The time that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    pub start: Timestamp,
    pub stop: Timestamp,
    pub now: Timestamp,
}

/// What one server took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerUsage {
    pub instance_id: String,
    pub name: String,
    pub hours: f64,
    pub flavor: String,
    pub vcpus: i64,
    pub memory_mb: i64,
    pub local_gb: i64,
    pub state: String,
    pub started_at: String,
    pub ended_at: Option<String>,
    /// Seconds since it began, until now or its end.
    pub uptime: u64,
    pub tenant_id: String,
}

/// What the servers of a project took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TenantUsage {
    pub tenant_id: String,
    pub start: String,
    pub stop: String,
    pub total_hours: f64,
    pub total_vcpus_usage: f64,
    pub total_memory_mb_usage: f64,
    pub total_local_gb_usage: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_usages: Option<Vec<ServerUsage>>,
}

impl Period {
    /// Hours of the period in which something lived.
    pub fn hours(&self, from: Timestamp, until: Option<Timestamp>) -> f64 {
        let until = until.map_or(self.stop, |until| until.min(self.stop));
        until.since(from.max(self.start)).as_secs_f64() / 3600.0
    }

    /// Seconds since something began.
    pub fn uptime(&self, from: Timestamp, until: Option<Timestamp>) -> u64 {
        until.unwrap_or(self.now).since(from).as_secs()
    }
}

impl TenantUsage {
    pub fn new(tenant_id: &str, period: &Period, detailed: bool) -> TenantUsage {
        TenantUsage {
            tenant_id: tenant_id.to_owned(),
            start: period.start.to_micros(),
            stop: period.stop.to_micros(),
            server_usages: detailed.then(Vec::new),
            ..TenantUsage::default()
        }
    }

    pub fn add(&mut self, server: ServerUsage) {
        self.total_hours += server.hours;
        self.total_vcpus_usage += server.hours * server.vcpus as f64;
        self.total_memory_mb_usage += server.hours * server.memory_mb as f64;
        self.total_local_gb_usage += server.hours * server.local_gb as f64;
        if let Some(servers) = &mut self.server_usages {
            servers.push(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_within_the_period_counts() {
        let hour = |n: i64| Timestamp::from_secs(n * 3600);
        let period = Period { start: hour(10), stop: hour(20), now: hour(30) };
        assert_eq!(period.hours(hour(5), None), 10.0);
        assert_eq!(period.hours(hour(12), Some(hour(15))), 3.0);
        assert_eq!(period.hours(hour(5), Some(hour(25))), 10.0);
        assert_eq!(period.hours(hour(25), None), 0.0);
        assert_eq!(period.hours(hour(5), Some(hour(7))), 0.0);
        assert_eq!((period.uptime(hour(29), None), period.uptime(hour(5), Some(hour(6)))), (3600, 3600));
    }
}
