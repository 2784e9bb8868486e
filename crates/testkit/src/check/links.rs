//! The links of the networks that hosts are in: taps of ports that are bound there, bridges of networks, and their like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::host::Known;
use super::place::Place;
use super::{Findings, Outcome};

/// Characters of an id in the name of a link.
const ID: usize = 11;

/// Looks at each network that any of these is in, once.
pub fn check(places: &[Place], known: &Known<'_>, findings: &mut Findings) -> Outcome<()> {
    let mut networks: BTreeMap<PathBuf, Vec<&Place>> = BTreeMap::new();
    for place in places.iter().filter(|place| place.has_networks()) {
        let process = place.pid.map_or_else(|| "self".into(), |pid| pid.to_string());
        let network = std::fs::read_link(format!("/proc/{process}/ns/net")).map_err(|error| format!("process {process}: {error}"))?;
        networks.entry(network).or_default().push(place);
    }
    for places in networks.values() {
        let Some(first) = places.first() else { continue };
        let links = links(first.pid)?;
        let hosts: BTreeSet<&str> = places.iter().map(|place| place.host.as_str()).collect();
        let names = hosts.iter().copied().collect::<Vec<_>>().join(", ");
        for link in &links {
            if let Some(why) = unwanted(link, &hosts, known) {
                findings.say(format!("{names}: the link {link} is {why}"));
            }
        }
        missing(&links, &hosts, known, findings);
    }
    Ok(())
}

/// The names of the links where a process is.
fn links(pid: Option<u32>) -> Outcome<BTreeSet<String>> {
    let mut command = match pid {
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.args(["-t", &pid.to_string(), "-n", "ip"]);
            command
        }
        None => Command::new("ip"),
    };
    let output = command.args(["-j", "link", "show"]).output()?;
    if !output.status.success() {
        return Err(format!("ip link: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let links: Value = serde_json::from_slice(&output.stdout)?;
    let names = links.as_array().into_iter().flatten().filter_map(|link| link.get("ifname")?.as_str().map(str::to_owned));
    Ok(names.collect())
}

/// What is wrong with a link of ours, if something is.
fn unwanted(link: &str, hosts: &BTreeSet<&str>, known: &Known<'_>) -> Option<&'static str> {
    let (kind, id) = (link.get(..3)?, link.get(3..)?);
    if id.len() != ID || id.chars().enumerate().any(|(at, c)| if at == 8 { c != '-' } else { !c.is_ascii_hexdigit() }) {
        return None;
    }
    let neutron = known.neutron;
    let network = || neutron.networks.iter().any(|network| network.starts_with(id));
    let port = || neutron.ports.iter().find(|(port, _)| port.starts_with(id));
    match kind {
        "cut" => match port() {
            None => Some("of a port that there is not"),
            Some((id, port)) => {
                let bound = hosts.contains(port.host.as_str());
                let comes = neutron.bindings.iter().any(|[port, host]| port == id && hosts.contains(host.as_str()));
                // what moves may have a tap at either end
                let moves = known.nova.servers.contains_key(&port.device) && !known.nova.is_settled(&port.device);
                (!bound && !comes && !moves && port.is_of_server()).then_some("of a port that is bound elsewhere")
            }
        },
        "cuq" | "cug" => port().is_none().then_some("of a port that there is not"),
        "cub" | "cud" | "cux" | "cuy" | "cuv" | "cul" => (!network()).then_some("of a network that there is not"),
        _ => None,
    }
}

/// Guests that run and have no tap.
fn missing(links: &BTreeSet<String>, hosts: &BTreeSet<&str>, known: &Known<'_>, findings: &mut Findings) {
    let running = known.nova.servers.iter().filter(|(id, server)| server.runs && known.nova.is_settled(id));
    for (id, server) in running.filter(|(_, server)| hosts.contains(server.host.as_str())) {
        for port in server.ports.iter().filter(|port| !links.contains(&format!("cut{}", port.get(..ID).unwrap_or(port)))) {
            findings.say(format!("{}: server {id} has no tap for its port {port}", server.host));
        }
    }
}
