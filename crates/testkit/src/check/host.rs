//! What lies on a host: directories of instances and volumes, sockets that volumes are served at, namespaces of networks. Each has its owner
//! in a database, and the owners' are all there.

use std::path::Path;

use super::Findings;
use super::cinder::Cinder;
use super::neutron::Neutron;
use super::nova::Nova;
use super::place::{Place, names_in};

/// What the databases know.
pub struct Known<'r> {
    pub nova: &'r Nova,
    pub neutron: &'r Neutron,
    pub cinder: &'r Cinder,
}

/// The files of a place.
pub fn check(place: &Place, known: &Known<'_>, findings: &mut Findings) {
    if place.is_host() {
        check_instances(place, known, findings);
    }
    if place.has_networks() {
        check_networks(place, known, findings);
    }
    for dir in place.volume_dirs() {
        check_volumes(place, dir, known, findings);
    }
}

fn check_instances(place: &Place, known: &Known<'_>, findings: &mut Findings) {
    let dir = place.dir.join("instances");
    for name in names_in(&dir).iter().filter(|name| *name != "_base") {
        let id = name.strip_suffix("_resize").unwrap_or(name);
        let settled = known.nova.is_settled(id);
        match known.nova.servers.get(id) {
            None => findings.say(format!("{}: the directory instances/{name} is of a server that there is not", place.host)),
            Some(server) if settled && server.host != place.host => {
                findings.say(format!("{}: the directory instances/{name} is of a server on {:?}", place.host, server.host));
            }
            Some(_) if settled && id != name => {
                findings.say(format!("{}: the directory instances/{name} is of a server that does not move", place.host));
            }
            Some(_) if settled => {
                for file in names_in(&dir.join(name)).iter().filter(|file| is_passing(file)) {
                    findings.say(format!("{}: the file instances/{name}/{file} is left over", place.host));
                }
            }
            Some(_) => {}
        }
    }
    let building = known.nova.servers.values().any(|server| server.host == place.host && server.vm_state == "building");
    for file in names_in(&dir.join("_base")).iter().filter(|file| !building && (is_passing(file) || file.ends_with(".converted"))) {
        findings.say(format!("{}: the file instances/_base/{file} is left over", place.host));
    }
}

/// Files that are there while something is done.
fn is_passing(file: &str) -> bool {
    file.starts_with("snapshot-") || file.ends_with(".part") || file.ends_with(".nbd-pid")
}

fn check_networks(place: &Place, known: &Known<'_>, findings: &mut Findings) {
    for name in names_in(&place.dir.join("neutron/netns")) {
        let wanted = match (name.strip_prefix("cumulo-dhcp-"), name.strip_prefix("cumulo-router-")) {
            (Some(network), _) => known.neutron.networks.contains(network),
            (None, Some(router)) => known.neutron.routers.contains(router),
            (None, None) => false,
        };
        if !wanted {
            findings.say(format!("{}: the namespace {name} is of nothing that there is", place.host));
        }
    }
    for network in names_in(&place.dir.join("neutron/dhcp")).iter().filter(|id| !known.neutron.networks.contains(*id)) {
        findings.say(format!("{}: the directory neutron/dhcp/{network} is of a network that there is not", place.host));
    }
}

fn check_volumes(place: &Place, dir: &Path, known: &Known<'_>, findings: &mut Findings) {
    for data in names_in(&dir.join("volumes")).iter().filter(|data| known.cinder.of_data(data).is_none()) {
        findings.say(format!("{}: the directory volumes/{data} is of a volume that there is not", place.host));
    }
    for name in names_in(&dir.join("nbd")) {
        if let Some(attachment) = name.strip_prefix("gate-") {
            if !known.cinder.attachments.contains_key(attachment) {
                findings.say(format!("{}: nbd/{name} lets in an attachment that there is not", place.host));
            }
        } else if let Some(data) = name.strip_suffix(".sock")
            && !known.cinder.of_data(data).is_some_and(|(id, volume)| known.cinder.is_used(id, volume))
        {
            findings.say(format!("{}: nbd/{name} serves a volume that nobody uses", place.host));
        }
    }
    // that of the state directory, which every host has
    if dir != place.dir || !dir.join("volumes").is_dir() {
        return;
    }
    let of_here = format!("{}@file", place.host);
    let settled = |status: &str| matches!(status, "available" | "in-use" | "reserved");
    let here = known.cinder.volumes.iter().filter(|(_, volume)| {
        let backend = volume.host.split('#').next().unwrap_or_default();
        backend == of_here && settled(&volume.status)
    });
    for (id, volume) in here.filter(|(_, volume)| !dir.join("volumes").join(&volume.data).join("disk.qcow2").is_file()) {
        findings.say(format!("{}: volume {id} is {}, and has no disk", place.host, volume.status));
    }
}
