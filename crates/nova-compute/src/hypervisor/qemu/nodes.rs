//! Disks as QEMU's block nodes, for `-blockdev` and `blockdev-add` alike, and the keys they are opened with.

use serde_json::{Value, json};

use super::args::node_name;
use super::secure::{Key, Purpose};
use crate::hypervisor::{Disk, DiskSource, NbdServer, RbdImage};

pub fn block_node(disk: &Disk) -> Value {
    let mut node = match &disk.source {
        DiskSource::File { path, format } => json!({
            "driver": format.name(), "file": {"driver": "file", "filename": path, "read-only": disk.read_only, "discard": "unmap"},
        }),
        DiskSource::Nbd { server, export } => json!({"driver": "raw", "file": nbd(disk, server, export)}),
        DiskSource::Rbd(image) => rbd(disk, image),
    };
    node["node-name"] = json!(node_name(&disk.id));
    node["read-only"] = json!(disk.read_only);
    node["discard"] = json!("unmap");
    node
}

fn nbd(disk: &Disk, server: &NbdServer, export: &str) -> Value {
    let mut node = json!({
        "driver": "nbd", "export": export, "read-only": disk.read_only,
        // the volume's server may be restarted under a running guest
        "reconnect-delay": 30,
    });
    node["server"] = match server {
        NbdServer::Unix(path) => json!({"type": "unix", "path": path}),
        NbdServer::Tcp { host, port, .. } => json!({"type": "inet", "host": host, "port": port.to_string()}),
    };
    if let NbdServer::Tcp { key: Some(_), .. } = server {
        node["tls-creds"] = json!(key_name(disk, Purpose::Tls));
    }
    node
}

fn rbd(disk: &Disk, image: &RbdImage) -> Value {
    let servers = image.servers.iter().map(|(host, port)| json!({"host": host, "port": port}));
    let mut file = json!({
        "driver": "rbd", "pool": image.pool, "image": image.image, "server": servers.collect::<Vec<_>>(), "read-only": disk.read_only,
        "discard": "unmap",
    });
    if let Some(user) = &image.user {
        file["user"] = json!(user);
    }
    if image.key.is_some() {
        file["key-secret"] = json!(key_name(disk, Purpose::Ceph));
        file["auth-client-required"] = json!(["cephx"]);
    }
    match image.passphrase {
        Some(_) => json!({"driver": "luks", "key-secret": key_name(disk, Purpose::Luks), "file": file}),
        None => json!({"driver": "raw", "file": file}),
    }
}

/// What a disk is opened with, if it is not open to everybody.
pub fn keys(disk: &Disk) -> Vec<Key<'_>> {
    let keys = match &disk.source {
        DiskSource::Nbd { server: NbdServer::Tcp { key, .. }, .. } => [Some((Purpose::Tls, key)), None],
        DiskSource::Rbd(image) => [Some((Purpose::Ceph, &image.key)), Some((Purpose::Luks, &image.passphrase))],
        DiskSource::Nbd { server: NbdServer::Unix(_), .. } | DiskSource::File { .. } => [None, None],
    };
    let known = keys.into_iter().flatten().filter_map(|(purpose, text)| Some((purpose, text.as_deref()?)));
    known.map(|(purpose, text)| Key { name: key_name(disk, purpose), purpose, text }).collect()
}

/// The names of all objects that may have come with a node.
pub fn key_names(node: &str) -> [String; 3] {
    [Purpose::Tls, Purpose::Ceph, Purpose::Luks].map(|purpose| named(node, purpose))
}

fn key_name(disk: &Disk, purpose: Purpose) -> String {
    named(&node_name(&disk.id), purpose)
}

fn named(node: &str, purpose: Purpose) -> String {
    match purpose {
        Purpose::Tls => node.to_owned(),
        Purpose::Ceph => format!("{node}-ceph"),
        Purpose::Luks => format!("{node}-luks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypervisor::{DiskBus, DiskLimits};

    #[test]
    fn a_volume_of_ceph_is_opened_with_two_keys_that_are_in_no_node() {
        let image = RbdImage {
            pool: "volumes".into(),
            image: "volume-1".into(),
            servers: vec![("10.0.0.1".into(), "6789".into())],
            user: Some("cinder".into()),
            key: Some("AQ==".into()),
            passphrase: Some("hidden".into()),
        };
        let mut disk = Disk {
            id: "v".into(),
            source: DiskSource::Rbd(Box::new(image.clone())),
            bus: DiskBus::Virtio,
            read_only: true,
            cdrom: false,
            removable: true,
            serial: None,
            limits: DiskLimits::default(),
        };
        let node = block_node(&disk);
        assert_eq!((&node["driver"], &node["key-secret"], &node["read-only"]), (&json!("luks"), &json!("d-v-luks"), &json!(true)));
        assert_eq!((&node["file"]["key-secret"], &node["file"]["server"][0]["port"]), (&json!("d-v-ceph"), &json!("6789")));
        assert!(!node.to_string().contains("AQ==") && !node.to_string().contains("hidden"), "{node}");
        let names: Vec<String> = keys(&disk).into_iter().map(|key| key.name).collect();
        assert_eq!(names, ["d-v-ceph", "d-v-luks"]);
        assert!(names.iter().all(|name| key_names(&node_name("v")).contains(name)));

        disk.source = DiskSource::Rbd(Box::new(RbdImage { key: None, passphrase: None, ..image }));
        let node = block_node(&disk);
        assert_eq!((&node["driver"], node["file"].get("key-secret"), keys(&disk).len()), (&json!("raw"), None, 0));
    }
}
