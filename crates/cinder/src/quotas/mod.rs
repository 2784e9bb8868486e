//! Quotas: how much of each resource a project may have. What is in use is kept in a row per resource, which a request raises only as far
//! as the limit in one conditional update, so that no race gets past it.

pub mod api;
pub mod store;

/// Resources with the limit that holds where nobody set one; -1 is none.
pub const DEFAULTS: &[(&str, i64)] = &[
    ("volumes", 10),
    ("snapshots", 10),
    ("gigabytes", 1000),
    ("backups", 10),
    ("backup_gigabytes", 1000),
    ("groups", 10),
    ("per_volume_gigabytes", -1),
];

/// An amount of a resource.
pub type Charge = (String, i64);

/// What a volume takes.
pub fn volume(size: i64, type_name: &str) -> Vec<Charge> {
    charges("volumes", size, type_name)
}

/// What a snapshot takes.
pub fn snapshot(size: i64, type_name: &str) -> Vec<Charge> {
    charges("snapshots", size, type_name)
}

/// What a backup takes.
pub fn backup(size: i64) -> Vec<Charge> {
    vec![("backup_gigabytes".into(), size), ("backups".into(), 1)]
}

/// What a group takes.
pub fn group() -> Vec<Charge> {
    vec![("groups".into(), 1)]
}

/// What growing takes.
pub fn gigabytes(size: i64, type_name: &str) -> Vec<Charge> {
    vec![("gigabytes".into(), size), (format!("gigabytes_{type_name}"), size)]
}

/// In the order of names, so that two requests take rows in the same order.
fn charges(what: &str, size: i64, type_name: &str) -> Vec<Charge> {
    let mut charges = gigabytes(size, type_name);
    charges.extend([(what.to_owned(), 1), (format!("{what}_{type_name}"), 1)]);
    charges
}
