//! The tree EC2 made popular: one value a path, listings for the rest. Old guests know only this.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kit::Result;
use serde_json::{Map, Value, json};

use super::{Documents, Node};

const VERSIONS: [&str; 10] =
    ["1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04", "latest"];

impl Documents {
    /// What is at a path without `openstack` in front.
    pub(super) fn ec2(&self, path: &[&str], address: Option<&str>) -> Option<Node> {
        let Some((version, rest)) = path.split_first() else {
            // the root lists EC2's versions, and the way to ours
            return Some(Node::Listing(VERSIONS.into_iter().chain(["openstack"]).map(str::to_owned).collect()));
        };
        if !VERSIONS.contains(version) {
            return None;
        }
        match rest.split_first() {
            None => {
                let user_data = self.about.instance.user_data.is_some().then(|| "user-data".to_owned());
                Some(Node::Listing(["meta-data/".to_owned()].into_iter().chain(user_data).collect()))
            }
            Some((&"user-data", [])) => self.user_data().map(Node::Bytes),
            Some((&"meta-data", rest)) => descend(&self.meta_data_tree(address), rest),
            Some(_) => None,
        }
    }

    /// The same as files of a config drive.
    pub(super) fn ec2_files(&self, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
        let tree = serde_json::to_vec(&self.meta_data_tree(None))?;
        for version in ["2009-04-04", "latest"] {
            files.insert(format!("ec2/{version}/meta-data.json"), tree.clone());
            if let Some(user_data) = self.user_data() {
                files.insert(format!("ec2/{version}/user-data"), user_data);
            }
        }
        Ok(())
    }

    fn meta_data_tree(&self, address: Option<&str>) -> Value {
        let instance = &self.about.instance;
        let number = instance.instance_name.rsplit('-').next().unwrap_or_default();
        let fixed = self.fixed_address(address);
        let floating = fixed.and_then(|fixed| self.about.floating_ips.get(&fixed));
        let text = |address: Option<&IpAddr>| address.map(ToString::to_string).unwrap_or_default();
        let root = instance.root_device_name.as_deref().unwrap_or("/dev/vda");
        let mut tree = json!({
            "ami-id": format!("ami-{}", short(instance.image_id.as_deref())),
            "ami-launch-index": instance.launch_index.to_string(),
            // nova's own answer, to the letter: guests of EC2's time expect the key, and there is no manifest
            "ami-manifest-path": "FIXME",
            "block-device-mapping": {"ami": root.trim_start_matches("/dev/"), "root": root},
            "hostname": self.hostname(),
            "instance-action": "none",
            "instance-id": format!("i-{number}"),
            "instance-type": instance.flavor.name,
            "local-hostname": self.hostname(),
            "local-ipv4": text(fixed.as_ref()),
            "placement": {"availability-zone": self.about.availability_zone},
            "public-hostname": self.hostname(),
            "public-ipv4": text(floating),
            "reservation-id": instance.reservation_id,
            "security-groups": instance.security_groups.join("\n"),
        });
        if let (Value::Object(tree), Some(key)) = (&mut tree, &instance.key) {
            let entry = json!({"_name": format!("0={}", key.name), "openssh-key": key.public_key});
            tree.insert("public-keys".into(), json!({"0": entry}));
        }
        tree
    }

    /// The address asked from, else the first.
    fn fixed_address(&self, address: Option<&str>) -> Option<IpAddr> {
        let mut all = self.about.instance.network_info.iter().flat_map(|nic| &nic.fixed_ips).map(|ip| ip.address);
        let asked: Option<IpAddr> = address.and_then(|text| text.parse().ok());
        asked.filter(|asked| all.clone().any(|have| have == *asked)).or_else(|| all.clone().find(IpAddr::is_ipv4)).or_else(|| all.next())
    }
}

/// Eight hex digits that an image can be told by.
fn short(image_id: Option<&str>) -> String {
    image_id.unwrap_or_default().chars().filter(char::is_ascii_hexdigit).take(8).collect()
}

/// Follows a path into the tree.
fn descend(tree: &Value, path: &[&str]) -> Option<Node> {
    let found = path.iter().try_fold(tree, |tree, name| tree.get(name))?;
    match found {
        Value::Object(entries) => Some(Node::Listing(listing(entries))),
        Value::String(text) => Some(Node::Text(text.clone())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

/// Names, those of directories with a slash; keys are listed as `0=name`.
fn listing(entries: &Map<String, Value>) -> Vec<String> {
    let name = |(name, value): (&String, &Value)| match value {
        Value::Object(inner) => match inner.get("_name").and_then(Value::as_str) {
            Some(label) => label.to_owned(),
            None => format!("{name}/"),
        },
        _ => name.clone(),
    };
    let mut names: Vec<String> = entries.iter().filter(|(name, _)| *name != "_name").map(name).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::documents;
    use super::*;

    fn at(path: &str) -> Option<Node> {
        documents().find(path, Some("10.0.0.5"))
    }

    fn text(path: &str) -> String {
        match at(path) {
            Some(Node::Text(text)) => text,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn values_are_one_a_path() {
        assert_eq!(text("/latest/meta-data/instance-id"), "i-0000002a");
        assert_eq!(text("/2009-04-04/meta-data/hostname"), "my-server");
        assert_eq!(text("/2009-04-04/meta-data/local-ipv4"), "10.0.0.5");
        assert_eq!(text("/2009-04-04/meta-data/public-ipv4"), "172.24.4.7");
        assert_eq!(text("/latest/meta-data/public-keys/0/openssh-key"), "ssh-ed25519 AAAA me");
        assert_eq!(text("/latest/meta-data/placement/availability-zone"), "nova");
        assert_eq!(at("/latest/user-data"), Some(Node::Bytes(b"#!/bin/sh".to_vec())));
        assert_eq!(at("/latest/meta-data/nothing"), None);
        assert_eq!(at("/1999-01-01"), None);
    }

    #[test]
    fn directories_list() {
        let Some(Node::Listing(root)) = at("/") else { panic!() };
        assert!(root.contains(&"2009-04-04".to_owned()) && root.contains(&"latest".to_owned()));
        assert_eq!(at("/latest"), Some(Node::Listing(vec!["meta-data/".into(), "user-data".into()])));
        assert_eq!(at("/latest/meta-data/public-keys/"), Some(Node::Listing(vec!["0=mine".into()])));
        assert_eq!(at("/latest/meta-data/public-keys/0"), Some(Node::Listing(vec!["openssh-key".into()])));
        let Some(Node::Listing(names)) = at("/latest/meta-data") else { panic!() };
        assert!(names.contains(&"placement/".to_owned()) && names.contains(&"instance-id".to_owned()));
    }
}
