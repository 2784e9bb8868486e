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

/// How the error is known that says that no host will do.
pub const NO_VALID_BACKEND: &str = "NoValidBackend";

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
    let promised = |host: &Service| promised(&host.host) as f64;
    let best = hosts.iter().filter(|host| fits(host, promised(host), wish, wish.size)).max_by(|a, b| {
        let room = |host: &Service| room(host, promised(host));
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
        None => Err(no_valid_backend(format!("{} hosts, none up in {} with {} GiB", hosts.len(), wish.zone, wish.size))),
    }
}

/// Whether the host of a volume can take so many GiB more of it.
pub fn check_growth(hosts: &[Service], host: Option<&str>, promised: i64, wish: &Wish<'_>, more: i64) -> Result<()> {
    match hosts.iter().find(|service| Some(&*service.host) == host).is_some_and(|host| fits(host, promised as f64, wish, more)) {
        true => Ok(()),
        false => Err(no_valid_backend(format!("{} has no room for {more} GiB more", host.unwrap_or("nobody")))),
    }
}

/// Whether a host may have the volume, of which `more` GiB are new to it.
fn fits(host: &Service, promised: f64, wish: &Wish<'_>, more: i64) -> bool {
    host.is_up()
        && !host.disabled
        && !host.frozen
        && satisfies(host, wish.extra_specs)
        && (wish.together.is_empty() || wish.together.contains(&host.host))
        && !wish.apart.contains(&host.host)
        && host.availability_zone == wish.zone
        && host.free_gb > reserved(host)
        && more as f64 <= room(host, promised)
        && host.filter_function.as_deref().is_none_or(|formula| told(formula, host, promised, wish).is_some_and(|value| value != 0.0))
}

/// GiB that a host may still promise: volumes are thin, so that it may promise more than it has.
fn room(host: &Service, promised: f64) -> f64 {
    (host.total_gb - reserved(host)) * host.oversubscription() - promised
}

/// GiB that no volume is to have.
fn reserved(host: &Service) -> f64 {
    (host.total_gb * host.reserved() as f64 / 100.0).floor()
}

fn no_valid_backend(why: String) -> Error {
    Error::unavailable(format!("No valid backend was found: {why}")).code(NO_VALID_BACKEND)
}

/// What a formula says of a host and a volume; nothing, and a line in the log, where it makes no sense.
fn told(text: &str, host: &Service, promised: f64, wish: &Wish<'_>) -> Option<f64> {
    let value = |name: &str| match name {
        "volume.size" => Some(wish.size as f64),
        "stats.total_capacity_gb" | "capabilities.total_capacity_gb" => Some(host.total_gb),
        "stats.free_capacity_gb" | "capabilities.free_capacity_gb" => Some(host.free_gb),
        "stats.allocated_capacity_gb" | "capabilities.allocated_capacity_gb" | "capabilities.provisioned_capacity_gb" => Some(promised),
        "capabilities.max_over_subscription_ratio" => Some(host.oversubscription()),
        "capabilities.reserved_percentage" => Some(host.reserved() as f64),
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
        let careful = Service { max_over_subscription_ratio: Some(1.5), reserved_percentage: Some(50), ..hosts[1].clone() };
        for (promised, more, room) in [(70, 5, true), (70, 6, false), (0, 75, true)] {
            let grown = check_growth(std::slice::from_ref(&careful), Some("big"), promised, &wish(1), more);
            assert_eq!(grown.is_ok(), room, "{promised} {more}");
        }
        assert!(check_growth(&[Service { free_gb: 50.0, ..careful }], Some("big"), 0, &wish(1), 1).is_err(), "the rest is reserved");
        let hosts = [glad, picky];
        assert_eq!(choose(&hosts, |_| 0, &wish(1)).unwrap().host, "big");
        assert_eq!(choose(&hosts, |_| 0, &wish(4)).unwrap().host, "small");
        assert_eq!(choose(&hosts, |_| 0, &wish(6)).unwrap().host, "small");
    }
}
