//! Whether a host has what a volume type's extra specs ask for: cinder's capabilities filter.

use std::collections::BTreeMap;

use crate::services::Model as Service;

/// Whether every extra spec about capabilities holds. Specs of another scope (`RESKEY:...`) are not about capabilities; one that asks for
/// what nobody has heard of holds nowhere.
pub fn satisfies(service: &Service, specs: &BTreeMap<String, String>) -> bool {
    specs.iter().all(|(key, wanted)| match key.split_once(':') {
        Some(("capabilities", name)) => capability(service, name).is_some_and(|have| holds(&have, wanted)),
        Some(_) => true,
        None => capability(service, key).is_some_and(|have| holds(&have, wanted)),
    })
}

fn capability(service: &Service, name: &str) -> Option<String> {
    Some(match name {
        "volume_backend_name" | "pool_name" => service.backend().to_owned(),
        "storage_protocol" => service.protocol.clone(),
        "vendor_name" => "Cumulo".to_owned(),
        "driver_version" => env!("CARGO_PKG_VERSION").to_owned(),
        "total_capacity_gb" => service.total_gb.to_string(),
        "free_capacity_gb" => service.free_gb.to_string(),
        "multiattach" | "thin_provisioning_support" | "online_extend_support" => "True".to_owned(),
        "thick_provisioning_support" | "replication_enabled" | "QoS_support" | "compression" => "False".to_owned(),
        _ => return None,
    })
}

/// `<is> True`, `<in> part`, `<or> this <or> that`, `s== text`, `>= 10`, or the text itself.
fn holds(have: &str, wanted: &str) -> bool {
    let wanted = wanted.trim();
    let (operator, operand) = wanted.split_once(' ').unwrap_or(("", wanted));
    let operand = operand.trim();
    let numbers = || Some((have.parse::<f64>().ok()?, operand.parse::<f64>().ok()?));
    match operator {
        "<is>" => kit::call::truthy(have) == kit::call::truthy(operand),
        "<in>" | "<all-in>" => have.contains(operand),
        "<or>" => operand.split("<or>").any(|one| one.trim() == have),
        "s==" => have == operand,
        "s!=" => have != operand,
        ">=" | "=" => numbers().is_some_and(|(have, least)| have >= least),
        "<=" => numbers().is_some_and(|(have, most)| have <= most),
        "==" => numbers().is_some_and(|(have, wanted)| have == wanted),
        "!=" => numbers().is_some_and(|(have, wanted)| have != wanted),
        _ => have.eq_ignore_ascii_case(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(key: &str, value: &str) -> bool {
        let service = Service { host: "h@fast".into(), protocol: "nbd".into(), total_gb: 100.0, ..Service::default() };
        satisfies(&service, &BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn a_host_has_what_a_type_asks_for_or_not() {
        for (key, value, holds) in [
            ("volume_backend_name", "fast", true),
            ("volume_backend_name", "slow", false),
            ("capabilities:storage_protocol", "<in> nb", true),
            ("storage_protocol", "<or> iSCSI <or> nbd", true),
            ("multiattach", "<is> True", true),
            ("replication_enabled", "<is> True", false),
            ("total_capacity_gb", ">= 50", true),
            ("total_capacity_gb", ">= 500", false),
            ("vendor_name", "nobody", false),
            ("unheard_of", "1", false),
            ("RESKEY:availability_zones", "az1", true),
        ] {
            assert_eq!(ask(key, value), holds, "{key} {value}");
        }
    }
}
