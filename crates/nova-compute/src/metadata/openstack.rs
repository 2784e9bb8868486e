//! OpenStack's own documents, in the versions guests ask for: later ones tell more.

use std::collections::BTreeMap;

use kit::Result;
use serde_json::{Map, Value, json};

use super::{Documents, Node, decode, network_data};

const FOLSOM: &str = "2012-08-10";
const GRIZZLY: &str = "2013-04-04";
const HAVANA: &str = "2013-10-17";
const LIBERTY: &str = "2015-10-15";
const NEWTON_ONE: &str = "2016-06-30";
const NEWTON_TWO: &str = "2016-10-06";
const OCATA: &str = "2017-02-22";
const ROCKY: &str = "2018-08-27";
const VICTORIA: &str = "2020-10-14";
/// The newest, whichever that is.
const LATEST: &str = "latest";

/// In their order, which is also that of their names.
const VERSIONS: [&str; 9] = [FOLSOM, GRIZZLY, HAVANA, LIBERTY, NEWTON_ONE, NEWTON_TWO, OCATA, ROCKY, VICTORIA];

impl Documents {
    /// What is below `/openstack`.
    pub(super) fn openstack(&self, path: &[&str]) -> Option<Node> {
        match path {
            [] => Some(Node::Listing(VERSIONS.into_iter().chain([LATEST]).map(str::to_owned).collect())),
            ["content"] => Some(Node::Listing((0..self.about.instance.injected_files.len()).map(content_name).collect())),
            ["content", name] => self.content(name).map(Node::Bytes),
            [version] => Some(Node::Listing(self.names(known(version)?).into_iter().map(str::to_owned).collect())),
            [version, name] => self.document(known(version)?, name),
            _ => None,
        }
    }

    /// The same as files of a config drive.
    pub(super) fn openstack_files(&self, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        for version in VERSIONS.into_iter().chain([LATEST]) {
            let exact = known(version).unwrap_or(VICTORIA);
            for name in self.names(exact) {
                let bytes = match self.document(exact, name) {
                    // the drive is the one place that may tell the password
                    Some(Node::Json(_)) if name == "meta_data.json" => serde_json::to_vec(&self.meta_data(exact, true))?,
                    Some(Node::Json(value)) => serde_json::to_vec(&value)?,
                    Some(Node::Bytes(bytes)) => bytes,
                    // the service alone can be asked for what changes
                    Some(Node::Text(_) | Node::Listing(_)) | None => continue,
                };
                files.insert(format!("openstack/{version}/{name}"), bytes);
            }
        }
        for (index, (_, content)) in self.about.instance.injected_files.iter().enumerate() {
            files.insert(format!("openstack/content/{}", content_name(index)), decode(content));
        }
        Ok(())
    }

    /// The documents of a version.
    fn names(&self, version: &str) -> Vec<&'static str> {
        let mut names = vec!["meta_data.json"];
        if self.about.instance.user_data.is_some() {
            names.push("user_data");
        }
        let later =
            [(GRIZZLY, "password"), (HAVANA, "vendor_data.json"), (LIBERTY, "network_data.json"), (NEWTON_TWO, "vendor_data2.json")];
        names.extend(later.into_iter().filter(|(since, _)| version >= *since).map(|(_, name)| name));
        names
    }

    fn document(&self, version: &str, name: &str) -> Option<Node> {
        if !self.names(version).contains(&name) {
            return None;
        }
        match name {
            "meta_data.json" => Some(Node::Json(self.meta_data(version, false))),
            "user_data" => self.user_data().map(Node::Bytes),
            "password" => Some(Node::Text(self.about.password.clone().unwrap_or_default())),
            "network_data.json" => Some(Node::Json(network_data::render(&self.about.instance.network_info))),
            "vendor_data.json" => Some(Node::Json(json!(*self.vendor_data.constant))),
            _ => Some(Node::Json(self.vendor_data2())),
        }
    }

    fn meta_data(&self, version: &str, with_password: bool) -> Value {
        let instance = &self.about.instance;
        let mut data = Map::new();
        let mut set = |key: &str, value: Value| drop(data.insert(key.to_owned(), value));
        set("uuid", json!(instance.id));
        if !instance.metadata.is_empty() {
            set("meta", json!(instance.metadata));
        }
        if !instance.injected_files.is_empty() {
            let file = |(index, (path, _)): (usize, &(String, String))| json!({"content_path": format!("/content/{}", content_name(index)), "path": path});
            set("files", instance.injected_files.iter().enumerate().map(file).collect());
        }
        if let Some(password) = self.admin_password.as_ref().filter(|_| with_password) {
            set("admin_pass", json!(password));
        }
        if let Some(key) = &instance.key {
            set("public_keys", json!({&key.name: key.public_key}));
            set("keys", json!([{"name": key.name, "type": key.key_type, "data": key.public_key}]));
        }
        set("hostname", json!(self.hostname()));
        set("name", json!(instance.name));
        set("launch_index", json!(instance.launch_index));
        set("availability_zone", json!(self.about.availability_zone));
        if version >= GRIZZLY {
            set("random_seed", json!(self.random_seed));
        }
        if version >= LIBERTY {
            set("project_id", json!(instance.project_id));
        }
        if version >= NEWTON_ONE {
            set("devices", self.tagged_devices());
        }
        if version >= VICTORIA {
            let dedicated = instance.numa_wanted.iter().flat_map(|wanted| &wanted.cells).flat_map(|cell| &cell.dedicated);
            set("dedicated_cpus", dedicated.copied().collect::<Vec<u32>>().into());
        }
        Value::Object(data)
    }

    /// What is the same for all guests, and beside it what each of those said who were asked about this one.
    fn vendor_data2(&self) -> Value {
        let mut data = Map::from_iter([("static".to_owned(), json!(*self.vendor_data.constant))]);
        data.extend(self.dynamic.get().cloned().unwrap_or_default());
        Value::Object(data)
    }

    /// Interfaces and volumes with a tag, so that a guest can tell them apart.
    fn tagged_devices(&self) -> Value {
        let instance = &self.about.instance;
        let nics = instance.network_info.iter().filter_map(|nic| {
            let tag = nic.tag.as_ref()?;
            Some(json!({"type": "nic", "bus": "pci", "address": "0000:00:00.0", "mac": nic.mac_address, "tags": [tag]}))
        });
        let disks = instance.block_devices.iter().filter_map(|disk| {
            let (tag, volume) = (disk.tag.as_ref()?, disk.volume_id.as_ref()?);
            // virtio-blk tells twenty characters of it
            let serial: String = volume.chars().take(20).collect();
            Some(json!({"type": "disk", "bus": "virtio", "address": "0000:00:00.0", "serial": serial, "path": disk.device_name,
                        "tags": [tag]}))
        });
        nics.chain(disks).collect()
    }

    fn content(&self, name: &str) -> Option<Vec<u8>> {
        let index: usize = name.parse().ok().filter(|index| content_name(*index) == name)?;
        self.about.instance.injected_files.get(index).map(|(_, content)| decode(content))
    }
}

fn content_name(index: usize) -> String {
    format!("{index:04}")
}

fn known(version: &str) -> Option<&'static str> {
    if version == LATEST {
        return VERSIONS.last().copied();
    }
    VERSIONS.into_iter().find(|known| *known == version)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::documents;
    use super::*;

    fn json_at(path: &str) -> Value {
        match documents().find(path, None) {
            Some(Node::Json(value)) => value,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn later_versions_tell_more() {
        let old = json_at("/openstack/2012-08-10/meta_data.json");
        assert_eq!(old["uuid"], "11111111-2222-3333-4444-555555555555");
        assert_eq!(old["meta"], json!({"role": "web"}));
        assert_eq!(old["public_keys"], json!({"mine": "ssh-ed25519 AAAA me"}));
        assert_eq!((&old["hostname"], &old["name"], &old["launch_index"]), (&json!("my-server"), &json!("My server"), &json!(3)));
        assert_eq!((&old["random_seed"], &old["project_id"]), (&Value::Null, &Value::Null));
        let new = json_at("/openstack/latest/meta_data.json");
        assert_eq!((&new["random_seed"], &new["project_id"]), (&json!("c2VlZA=="), &json!("project")));
        assert_eq!(new["devices"][0]["tags"], json!(["front"]));
        assert_eq!(new["files"], json!([{"content_path": "/content/0000", "path": "/etc/motd"}]));
        assert_eq!(new.get("admin_pass"), None);
        assert_eq!(json_at("/openstack/2013-10-17/vendor_data.json"), json!({"ntp": "10.0.0.3"}));
        assert_eq!(json_at("/openstack/latest/vendor_data2.json"), json!({"static": {"ntp": "10.0.0.3"}}));
    }

    #[test]
    fn paths_list_and_miss_as_they_should() {
        let listing = |path: &str| documents().find(path, None);
        assert!(matches!(listing("/openstack/"), Some(Node::Listing(names)) if names.len() == 10));
        assert_eq!(listing("/openstack/2012-08-10"), Some(Node::Listing(vec!["meta_data.json".into(), "user_data".into()])));
        assert_eq!(listing("/openstack/2012-08-10/network_data.json"), None);
        assert_eq!(listing("/openstack/2011-01-01"), None);
        assert_eq!(listing("/openstack/latest/user_data"), Some(Node::Bytes(b"#!/bin/sh".to_vec())));
        assert_eq!(listing("/openstack/content/0000"), Some(Node::Bytes(b"hello".to_vec())));
        assert_eq!(listing("/openstack/content/0001"), None);
    }

    #[test]
    fn only_the_drive_tells_the_password() {
        let files = documents().drive().unwrap();
        let data: Value = serde_json::from_slice(&files["openstack/latest/meta_data.json"]).unwrap();
        assert_eq!(data["admin_pass"], "secret");
        assert_eq!(files["openstack/content/0000"], b"hello");
        assert_eq!(files["openstack/latest/user_data"], b"#!/bin/sh");
        assert!(files.contains_key("openstack/2020-10-14/vendor_data2.json"));
        assert!(files.contains_key("ec2/latest/meta-data.json"));
    }
}
