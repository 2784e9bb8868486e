//! Which host gets a volume: among those that are alive, enabled, in the zone and have room, the one that is gladdest of it, and of equals
//! the one with the most room.
//!
//! An operator may say of a backend which volumes it is for (`filter_function`, true or not) and how glad it is of one
//! (`goodness_function`, 0 to 100), as [`formula`]s about `volume.size`, `stats.free_capacity_gb` and the like.

mod formula;

use std::collections::BTreeMap;

use kit::{Error, Result};

use crate::capabilities::satisfies;
use crate::services::Model as Service;

/// Volumes are thin: a host may promise this many times what it has.
const OVERSUBSCRIPTION: f64 = 20.0;

/// What a volume needs.
pub struct Wish<'a> {
    /// GiB
    pub size: i64,
    pub zone: &'a str,
    /// What its type asks of a backend.
    pub extra_specs: &'a BTreeMap<String, String>,
    /// Hosts of the volumes it shall be together with, and of those it shall be apart from.
    pub together: &'a [String],
    pub apart: &'a [String],
}

/// Chooses among hosts; `promised` tells the GiB already promised on each.
pub fn choose<'a>(hosts: &'a [Service], promised: impl Fn(&str) -> i64, wish: &Wish<'_>) -> Result<&'a Service> {
    let fits = |host: &&Service| {
        let promised = promised(&host.host) as f64;
        host.is_up()
            && !host.disabled
            && !host.frozen
            && satisfies(host, wish.extra_specs)
            && (wish.together.is_empty() || wish.together.contains(&host.host))
            && !wish.apart.contains(&host.host)
            && host.availability_zone == wish.zone
            && host.free_gb > 0.0
            && promised + wish.size as f64 <= host.total_gb * OVERSUBSCRIPTION
            && host.filter_function.as_deref().is_none_or(|formula| told(formula, host, promised, wish).is_some_and(|value| value != 0.0))
    };
    let best = hosts.iter().filter(fits).max_by(|a, b| {
        let promised = |host: &Service| promised(&host.host) as f64;
        let room = |host: &Service| host.total_gb * OVERSUBSCRIPTION - promised(host);
        let glad = |host: &Service| {
            let told = host.goodness_function.as_deref().and_then(|formula| told(formula, host, promised(host), wish));
            told.filter(|value| (0.0..=100.0).contains(value)).unwrap_or_default()
        };
        glad(a).total_cmp(&glad(b)).then(room(a).total_cmp(&room(b)))
    });
    match best {
        Some(host) => {
            tracing::info!(host = host.host, size = wish.size, "chosen");
            Ok(host)
        }
        None => Err(Error::unavailable(format!(
            "No valid backend was found: {} hosts, none up in {} with {} GiB",
            hosts.len(),
            wish.zone,
            wish.size
        ))),
    }
}

/// What a formula says of a host and a volume; nothing, and a line in the log, where it makes no sense.
fn told(text: &str, host: &Service, promised: f64, wish: &Wish<'_>) -> Option<f64> {
    let value = |name: &str| match name {
        "volume.size" => Some(wish.size as f64),
        "stats.total_capacity_gb" | "capabilities.total_capacity_gb" => Some(host.total_gb),
        "stats.free_capacity_gb" | "capabilities.free_capacity_gb" => Some(host.free_gb),
        "stats.allocated_capacity_gb" | "capabilities.allocated_capacity_gb" | "capabilities.provisioned_capacity_gb" => Some(promised),
        "capabilities.max_over_subscription_ratio" => Some(OVERSUBSCRIPTION),
        name => name.strip_prefix("extra.").and_then(|key| wish.extra_specs.get(key)?.parse().ok()),
    };
    match formula::value(text, &value) {
        Ok(value) => Some(value),
        Err(why) => {
            tracing::warn!(host = host.host, formula = text, why, "a function of a backend makes no sense");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use kit::clock::Timestamp;

    use super::*;

    fn host(name: &str, total_gb: f64, disabled: bool, seen_at: Timestamp) -> Service {
        Service {
            host: name.into(),
            availability_zone: "nova".into(),
            total_gb,
            free_gb: total_gb,
            disabled,
            seen_at,
            ..Service::default()
        }
    }

    #[test]
    fn the_roomiest_live_host_wins() {
        let now = Timestamp::now();
        let hosts = [
            host("small", 10.0, false, now),
            host("big", 100.0, false, now),
            host("off", 999.0, true, now),
            host("dead", 999.0, false, Timestamp(0)),
        ];
        let none = BTreeMap::new();
        let wish = |size| Wish { size, zone: "nova", extra_specs: &none, together: &[], apart: &[] };
        assert_eq!(choose(&hosts, |_| 0, &wish(1)).unwrap().host, "big");
        assert_eq!(choose(&hosts, |name| if name == "big" { 1950 } else { 0 }, &wish(60)).unwrap().host, "small");
        assert!(choose(&hosts, |_| 0, &wish(5000)).is_err());
        let big = ["big".to_owned()];
        assert_eq!(choose(&hosts, |_| 0, &Wish { apart: &big, ..wish(1) }).unwrap().host, "small");
        assert!(choose(&hosts, |_| 0, &Wish { apart: &big, together: &big, ..wish(1) }).is_err());
        let fast = BTreeMap::from([("volume_backend_name".to_owned(), "fast".to_owned())]);
        assert!(choose(&hosts, |_| 0, &Wish { extra_specs: &fast, ..wish(1) }).is_err());
        assert!(choose(&hosts, |_| 0, &Wish { zone: "elsewhere", ..wish(1) }).is_err());
        let picky = Service { filter_function: Some("volume.size < 5".into()), ..hosts[1].clone() };
        let glad = Service { goodness_function: Some("volume.size > 2 ? 100 : 0".into()), ..hosts[0].clone() };
        let hosts = [glad, picky];
        assert_eq!(choose(&hosts, |_| 0, &wish(1)).unwrap().host, "big");
        assert_eq!(choose(&hosts, |_| 0, &wish(4)).unwrap().host, "small");
        assert_eq!(choose(&hosts, |_| 0, &wish(6)).unwrap().host, "small");
    }
}
