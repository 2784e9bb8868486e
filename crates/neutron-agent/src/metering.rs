//! The metering agent: what routers counted under labels is read now and then, and told as neutron-metering-agent tells it: one notification
//! `l3.meter` for each label, of all routers of the host together, with what came since the last.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kit::bus::Bus;
use kit::clock::Timestamp;
use kit::ids;
use rpc::notifications::Notification;
use serde_json::{Value, json};

const EVENT: &str = "l3.meter";
/// Where notifications go that have no versions.
const NOTIFICATIONS: &str = "notifications";

/// What one router counted under a label since it was asked last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub label_id: String,
    /// The router's.
    pub project_id: String,
    pub packets: u64,
    pub bytes: u64,
}

/// What was counted and not told yet, by label.
pub struct Meters {
    host: String,
    bus: Bus,
    report_every: Duration,
    reported: Instant,
    labels: BTreeMap<String, Meter>,
}

/// Times are seconds of the epoch.
#[derive(Debug)]
struct Meter {
    project_id: String,
    packets: u64,
    bytes: u64,
    /// Seconds in which this was counted.
    time: i64,
    first_update: i64,
    last_update: i64,
}

impl Meters {
    pub fn new(host: String, bus: Bus, report_every: Duration) -> Meters {
        Meters { host, bus, report_every, reported: Instant::now(), labels: BTreeMap::new() }
    }

    /// Takes in what was counted, and tells of it when it is time to.
    pub async fn take(&mut self, counts: Vec<Count>) {
        let now = Timestamp::now().secs();
        self.add(counts, now);
        if self.reported.elapsed() < self.report_every {
            return;
        }
        self.reported = Instant::now();
        for payload in self.tell(now) {
            let notification = Notification {
                message_id: ids::uuid(),
                publisher_id: format!("metering.{}", self.host),
                event_type: EVENT.into(),
                priority: "INFO".into(),
                payload,
                timestamp: Timestamp::now().to_micros().replace('T', " "),
            };
            tracing::info!(payload = %notification.payload, "{EVENT}");
            if let Err(error) = self.bus.cast(NOTIFICATIONS, notification).await {
                tracing::debug!(%error, "nobody hears notifications");
            }
        }
    }

    fn add(&mut self, counts: Vec<Count>, now: i64) {
        for count in counts {
            let new = Meter { project_id: String::new(), packets: 0, bytes: 0, time: 0, first_update: now, last_update: now };
            let meter = self.labels.entry(count.label_id).or_insert(new);
            meter.project_id = count.project_id;
            meter.packets += count.packets;
            meter.bytes += count.bytes;
            meter.time += now - meter.last_update;
            meter.last_update = now;
        }
    }

    /// All that was counted, which begins anew. A label of which nothing came for so long that it must be gone is told of once more.
    fn tell(&mut self, now: i64) -> Vec<Value> {
        let told = self.labels.iter().map(|(label, meter)| {
            json!({
                "label_id": label, "project_id": meter.project_id, "tenant_id": meter.project_id, "host": self.host,
                "pkts": meter.packets, "bytes": meter.bytes, "time": meter.time,
                "first_update": meter.first_update, "last_update": meter.last_update,
            })
        });
        let told = told.collect();
        let oldest = now - i64::try_from(self.report_every.as_secs()).unwrap_or(i64::MAX);
        self.labels.retain(|_, meter| meter.last_update >= oldest);
        for meter in self.labels.values_mut() {
            (meter.packets, meter.bytes, meter.time) = (0, 0, 0);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_not_told_again() {
        let mut meters = Meters::new("host".into(), Bus::local(), Duration::from_secs(300));
        let count = |bytes| Count { label_id: "label".into(), project_id: "tenant".into(), packets: 1, bytes };
        meters.add(vec![count(100), count(20)], 1000);
        meters.add(vec![count(3)], 1030);
        let told = |meters: &mut Meters, now| {
            meters.tell(now).into_iter().map(|told| (told["pkts"].clone(), told["bytes"].clone(), told["time"].clone()))
        };
        assert_eq!(told(&mut meters, 1030).collect::<Vec<_>>(), [(json!(3), json!(123), json!(30))]);
        assert_eq!(told(&mut meters, 1300).collect::<Vec<_>>(), [(json!(0), json!(0), json!(0))]);
        assert_eq!(told(&mut meters, 1400).count(), 1);
        assert_eq!(told(&mut meters, 1401).count(), 0, "the label is gone");
    }
}
