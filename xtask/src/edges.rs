//! The layering: which crate of ours may depend on which. A service knows no other service; what it wants from a
//! neighbour it asks through `sdk` or `rpc`. Read from the manifests, so that it holds before anything compiles.

use toml::{Table, Value};

use crate::finding::Finding;

/// Services and the agents on hosts: the parts that must not know each other.
const PARTS: &[&str] = &["keystone", "glance", "placement", "nova", "neutron", "cinder", "nova-compute", "neutron-agent", "cinder-volume"];
/// Every crate that is ours, beside the parts.
const OTHERS: &[&str] = &["cumulo", "kit", "kit-derive", "outside", "sdk", "rpc", "horizon", "cli", "testkit", "xtask", "fuzz"];

/// The agent whose real half a service's tests may start: (service, agent).
const TEST_PARTNERS: &[(&str, &str)] = &[("nova", "nova-compute"), ("neutron", "neutron-agent"), ("cinder", "cinder-volume")];

/// What a crate of ours may depend on, of ours.
fn allowed(name: &str) -> Option<Vec<&'static str>> {
    let all = || PARTS.iter().chain(OTHERS).copied().filter(|other| !["cumulo", "testkit", "xtask", "fuzz"].contains(other));
    match name {
        "cumulo" => Some(all().collect()),
        "testkit" => Some(all().chain(["cumulo"]).collect()),
        "kit" => Some(vec!["kit-derive", "sdk", "rpc"]),
        "cli" | "horizon" => Some(vec!["sdk"]),
        "fuzz" => Some(vec!["kit"]),
        "kit-derive" | "outside" | "sdk" | "rpc" | "xtask" => Some(Vec::new()),
        part if PARTS.contains(&part) => Some(vec!["kit", "kit-derive", "outside", "sdk", "rpc"]),
        _ => None,
    }
}

/// Checks one Cargo.toml.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::new(path, 1, format!("is not valid TOML: {error}"))],
    };
    let Some(name) = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str) else {
        return Vec::new(); // the workspace's own manifest
    };
    let Some(allowed) = allowed(name) else {
        let message = format!("the layering does not know the crate `{name}`; say in xtask/src/edges.rs what it may depend on");
        return vec![Finding::new(path, line_of(text, name), message)];
    };
    dependencies(name, &manifest)
        .into_iter()
        .filter(|other| is_ours(other) && !allowed.contains(&other.as_str()))
        .map(|other| Finding::new(path, line_of(text, &other), forbidden(name, &other, &allowed)))
        .collect()
}

fn forbidden(name: &str, other: &str, allowed: &[&str]) -> String {
    let way = if PARTS.contains(&other) {
        "ask it through its public API (sdk) or the bus (rpc)"
    } else {
        "move what both need to where both may look"
    };
    let may = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
    format!("`{name}` must not depend on `{other}`: {way}. `{name}` may depend on: {may}")
}

fn is_ours(name: &str) -> bool {
    PARTS.contains(&name) || OTHERS.contains(&name)
}

/// The crates a manifest names in any of its dependency tables, by their real names. What tests use is held to the same
/// edges, but they may also use testkit and their service's own agent.
fn dependencies(name: &str, manifest: &Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let tables = std::iter::once(manifest).chain(targets);
    let named = |table: &Table, kind: &str| -> Vec<String> {
        let entries = table.get(kind).and_then(Value::as_table).into_iter().flatten();
        entries.map(|(key, value)| value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned()).collect()
    };
    let mut found = Vec::new();
    for table in tables {
        found.extend(named(table, "dependencies"));
        found.extend(named(table, "build-dependencies"));
        found.extend(
            named(table, "dev-dependencies").into_iter().filter(|other| other != "testkit" && !TEST_PARTNERS.contains(&(name, other))),
        );
    }
    found
}

/// The first line that names the crate as a key or a value.
fn line_of(text: &str, name: &str) -> usize {
    let names = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '='])) || line.contains(&format!("\"{name}\""))
    };
    text.lines().position(names).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, dependencies: &str) -> String {
        format!("[package]\nname = \"{name}\"\n\n[dependencies]\n{dependencies}")
    }

    #[test]
    fn a_service_stands_on_kit_sdk_and_rpc() {
        let text = manifest("nova", "kit.workspace = true\nsdk.workspace = true\nrpc = { workspace = true }\nserde = \"1\"\n");
        assert_eq!(check("crates/nova/Cargo.toml", &text), []);
    }

    #[test]
    fn a_service_must_not_know_another() {
        let findings = check("crates/nova/Cargo.toml", &manifest("nova", "kit.workspace = true\nneutron.workspace = true\n"));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 6);
        assert!(findings[0].message.contains("`nova` must not depend on `neutron`"), "{}", findings[0]);
        assert!(findings[0].message.contains("sdk"));
    }

    #[test]
    fn a_renamed_or_target_dependency_is_seen_too() {
        let text = manifest(
            "glance",
            "other = { package = \"cinder\", path = \"../cinder\" }\n\n[target.'cfg(unix)'.dependencies]\nnova.workspace = true\n",
        );
        let named: Vec<_> = check("crates/glance/Cargo.toml", &text).into_iter().map(|finding| finding.line).collect();
        assert_eq!(named, [5, 8]);
    }

    #[test]
    fn only_the_tests_of_a_service_may_start_its_agent() {
        let tests = "\n[dev-dependencies]\ncinder-volume.workspace = true\n";
        assert_eq!(check("Cargo.toml", &manifest("cinder", tests)), []);
        assert_eq!(check("Cargo.toml", &manifest("nova", tests)).len(), 1);
        assert_eq!(check("Cargo.toml", &manifest("cinder", "cinder-volume.workspace = true\n")).len(), 1);
    }

    #[test]
    fn the_lowest_layers_know_nothing_of_ours() {
        for name in ["sdk", "rpc", "kit-derive"] {
            assert_eq!(check("Cargo.toml", &manifest(name, "kit.workspace = true\n")).len(), 1, "{name}");
        }
    }

    #[test]
    fn the_binary_sees_everything_but_nobody_sees_the_binary() {
        let parts: String = PARTS.iter().map(|part| format!("{part}.workspace = true\n")).collect();
        assert_eq!(check("Cargo.toml", &manifest("cumulo", &parts)), []);
        assert_eq!(check("Cargo.toml", &manifest("nova", "cumulo.workspace = true\n")).len(), 1);
        assert_eq!(check("Cargo.toml", &manifest("testkit", "cumulo.workspace = true\n")), []);
    }

    #[test]
    fn a_new_crate_must_be_placed_first() {
        let findings = check("crates/heat/Cargo.toml", &manifest("heat", ""));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("xtask/src/edges.rs"));
    }
}
