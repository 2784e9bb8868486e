//! The other end of a `connection_info`: a volume, on whichever storage, that `qemu-img` of this host writes to.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use kit::{Error, Result};
use rpc::volume::Secret;
use sdk::volume::Rbd;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::file::disk::{Environment, qemu_img_in};
use crate::file::luks::Keys;
use crate::file::unlocked::{PrivateDir, Readable};
use crate::file::{escape, gate};

/// Where this host has the configuration and the keyrings of Ceph clusters.
#[derive(Clone, Debug)]
pub struct CephDir(pub PathBuf);

impl Default for CephDir {
    fn default() -> CephDir {
        CephDir("/etc/ceph".into())
    }
}

impl CephDir {
    pub fn conf(&self, cluster: &str) -> PathBuf {
        self.0.join(format!("{cluster}.conf"))
    }

    pub fn keyring(&self, cluster: &str, user: &str) -> PathBuf {
        self.0.join(format!("{cluster}.client.{user}.keyring"))
    }

    /// What Ceph's library finds in the environment. A keyring that is not here may be named in the cluster's configuration.
    pub fn environment(&self, cluster: &str, user: &str) -> Environment {
        let keyring = self.keyring(cluster, user);
        if keyring.exists() { vec![("CEPH_KEYRING", keyring)] } else { Vec::new() }
    }
}

/// A volume that is to be written.
pub struct Target {
    /// As `qemu-img` is to open it.
    options: String,
    environment: Environment,
    /// Of one that is encrypted and that QEMU sees so.
    key: Option<Secret>,
    /// Of one that is reached through another host's gate.
    credentials: Option<PrivateDir>,
}

/// The part of a `connection_info` that says how a volume is reached over NBD.
#[derive(Deserialize)]
struct Nbd {
    export: String,
    socket_path: Option<PathBuf>,
    host: Option<IpAddr>,
    port: Option<u16>,
    auth_password: Option<String>,
}

impl Target {
    pub async fn open(connection: &Value, ceph: &CephDir, keys: &Keys) -> Result<Target> {
        let data = connection["data"].clone();
        let unknown = |error| Error::bad_request("The other volume cannot be written to from this host.").source(error);
        match connection["driver_volume_type"].as_str() {
            Some("rbd") => Target::of_ceph(&serde_json::from_value(data).map_err(unknown)?, ceph, keys).await,
            _ => Target::of_nbd(&serde_json::from_value(data).map_err(unknown)?),
        }
    }

    fn of_nbd(nbd: &Nbd) -> Result<Target> {
        let credentials = match nbd.auth_password.as_ref().filter(|_| nbd.socket_path.is_none()) {
            Some(key) => {
                let dir = PrivateDir::new()?;
                gate::write_key(dir.path(), key)?;
                Some(dir)
            }
            None => None,
        };
        Ok(Target { options: nbd.image_options()?, environment: Environment::default(), key: None, credentials })
    }

    async fn of_ceph(rbd: &Rbd, ceph: &CephDir, keys: &Keys) -> Result<Target> {
        let unknown = || Error::bad_request("The other volume is in no pool.");
        let (pool, image) = rbd.pool_and_image().ok_or_else(unknown)?;
        let key = match (&rbd.volume_id, rbd.encrypted) {
            (Some(id), true) => keys.of(id).await?,
            _ => None,
        };
        let user = rbd.auth_username.as_deref().unwrap_or("admin");
        let mut node = json!({"driver": "rbd", "pool": pool, "image": image, "user": user});
        node["server"] = rbd.servers().map(|(host, port)| json!({"host": host, "port": port})).collect();
        let options = options(&layered(node, key.is_some()));
        Ok(Target { options, environment: ceph.environment(&rbd.cluster_name, user), key, credentials: None })
    }

    /// Writes all that can be read to it.
    pub async fn fill(&self, source: &Readable) -> Result<()> {
        let object = self.credentials.iter().flat_map(|dir| ["--object".to_owned(), gate::client("gate", dir.path())]);
        let arguments: Vec<String> = ["-q", "-n", "-U", "--target-image-opts", "-f", source.format()]
            .into_iter()
            .map(str::to_owned)
            .chain(object)
            .chain([source.name().to_owned(), self.options.clone()])
            .collect();
        qemu_img_in(&self.environment, "convert", arguments.iter().map(OsStr::new), self.key.as_ref()).await.map(drop)
    }
}

impl Nbd {
    fn image_options(&self) -> Result<String> {
        let export = &self.export;
        let inet = |host, port| format!("driver=nbd,server.type=inet,server.host={host},server.port={port},export={export}");
        match (&self.socket_path, self.host, self.port) {
            (Some(path), _, _) => Ok(format!("driver=nbd,server.type=unix,server.path={},export={export}", escape(path))),
            (None, Some(host), Some(port)) => Ok(format!("{},tls-creds=gate", inet(host, port))),
            (None, _, _) => Err(Error::bad_request("The other volume is reached by no socket and at no address.")),
        }
    }
}

/// What a disk shows: the bytes of the block node, or what LUKS makes of them with the key that QEMU is told of.
pub fn layered(node: Value, locked: bool) -> Value {
    match locked {
        true => json!({"driver": "luks", "key-secret": "key", "discard": "unmap", "file": node}),
        false => json!({"driver": "raw", "discard": "unmap", "file": node}),
    }
}

/// A block node in the option language, which is all that `qemu-img` takes for what it writes to.
pub fn options(node: &Value) -> String {
    let mut words = Vec::new();
    flatten("", node, &mut words);
    words.join(",")
}

fn flatten(name: &str, value: &Value, words: &mut Vec<String>) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| flatten(&below(key), value, words)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| flatten(&below(&index.to_string()), value, words)),
        Value::Bool(on) => words.push(format!("{name}={}", if *on { "on" } else { "off" })),
        Value::String(text) => words.push(format!("{name}={}", escape(Path::new(text)))),
        other => words.push(format!("{name}={other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_volume_of_ceph_is_a_target() {
        let connection = json!({"driver_volume_type": "rbd", "data": {
            "name": "volumes/volume-1", "hosts": ["10.0.0.1", "10.0.0.2"], "ports": ["6789", "6789"], "cluster_name": "ceph",
            "auth_enabled": true, "auth_username": "cinder", "volume_id": "1", "encrypted": false}});
        let target = Target::open(&connection, &CephDir("/nonexistent".into()), &Keys::default()).await.unwrap();
        for word in ["driver=raw", "file.driver=rbd", "file.pool=volumes", "file.image=volume-1", "file.server.1.host=10.0.0.2"] {
            assert!(target.options.split(',').any(|option| option == word), "{word} is not in {}", target.options);
        }
        assert!(target.environment.is_empty());
        let nowhere = json!({"driver_volume_type": "nbd", "data": {"export": "e"}});
        assert!(Target::open(&nowhere, &CephDir::default(), &Keys::default()).await.is_err());
    }

    #[test]
    fn a_comma_is_no_end_and_a_switch_is_on_or_off() {
        assert_eq!(options(&json!({"a": {"b": "x,y"}, "c": true, "d": 1})), "a.b=x,,y,c=on,d=1");
    }
}
