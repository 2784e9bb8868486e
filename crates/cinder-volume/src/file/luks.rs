//! Encrypted disks: qcow2 files with LUKS inside, which QEMU opens with a key that cinder keeps. Whoever is served such a volume sees it in
//! the clear and knows nothing of the key; what lies on this host's storage is of no use without it.
//!
//! A volume and all it stands on have one passphrase. QEMU's programs read it from their standard input, so that it is in no file, no
//! command line and no environment.

use std::io::Read;
use std::path::Path;

use kit::bus::Bus;
use kit::{Error, Result};
use rpc::volume::{FetchSecret, SERVER_TOPIC, Secret};
use serde_json::{Value, json};

use super::disk::blocking;
use super::layers;

/// The object that the options below name.
pub const OBJECT: &str = "secret,id=key,file=/dev/stdin";
/// How long cinder may take to say what a key is.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// A key as long as the cipher's own needs no stretching.
const STRETCH_MS: u32 = 10;

/// Where keys are asked for.
#[derive(Clone, Default)]
pub struct Keys(pub Option<Bus>);

impl Keys {
    /// The key of what has this id; nothing where it is to be in the clear.
    pub async fn of(&self, id: &str) -> Result<Option<Secret>> {
        match &self.0 {
            Some(bus) => bus.call(SERVER_TOPIC, FetchSecret { id: id.to_owned() }, PATIENCE).await,
            None => Ok(None),
        }
    }

    /// The key of a disk that is here, if it has one.
    pub async fn of_disk(&self, disk: &Path, id: &str) -> Result<Option<Secret>> {
        if !is_locked(disk).await? {
            return Ok(None);
        }
        let key = self.of(id).await?;
        key.map(Some).ok_or_else(|| Error::unavailable(format!("The key of {id} is not known, and without it its data cannot be read.")))
    }
}

/// Whether a disk is encrypted.
pub async fn is_locked(disk: &Path) -> Result<bool> {
    let disk = disk.to_owned();
    blocking(move || locked(&disk)).await
}

/// What `qemu-img` makes a disk with.
pub fn options(key: &Secret) -> String {
    format!("encrypt.format=luks,encrypt.key-secret=key,encrypt.cipher-alg={},encrypt.iter-time={STRETCH_MS}", key.cipher)
}

/// What `qemu-img` makes a file with that is LUKS and nothing else.
pub fn container(key: &Secret) -> Vec<String> {
    vec!["-o".into(), format!("key-secret=key,cipher-alg={},iter-time={STRETCH_MS}", key.cipher)]
}

/// Such a file as `qemu-img` is to open it.
pub fn contained(file: &Path) -> String {
    format!("json:{}", json!({"driver": "luks", "key-secret": "key", "file": {"driver": "file", "filename": file}}))
}

/// A new disk as `qemu-img` is to open it, which finds by itself what the disk stands on.
pub fn top(disk: &Path, key: Option<&Secret>) -> Vec<String> {
    if key.is_none() {
        return vec!["-f".into(), "qcow2".into(), disk.to_string_lossy().into_owned()];
    }
    let node = json!({"driver": "qcow2", "file": {"driver": "file", "filename": disk}, "encrypt": lock()});
    vec![format!("json:{node}")]
}

/// A disk as `qemu-img` is to open it: its name, or the description of it and of all it stands on, each with the key.
pub async fn source(disk: &Path) -> Result<Vec<String>> {
    if !is_locked(disk).await? {
        return Ok(vec!["-f".into(), "qcow2".into(), disk.to_string_lossy().into_owned()]);
    }
    let disk = disk.to_owned();
    let node = blocking(move || node(&disk)).await?;
    Ok(vec![format!("json:{node}")])
}

/// The block node of a disk and of all it stands on, in QEMU's words.
pub fn node(disk: &Path) -> std::io::Result<Value> {
    let below = match layers::header_backing(disk)? {
        Some(name) => node(&disk.parent().unwrap_or(disk).join(name))?,
        None => Value::Null,
    };
    let file = json!({"driver": "file", "filename": disk, "discard": "unmap"});
    let mut node = json!({"driver": "qcow2", "file": file, "discard": "unmap", "backing": below});
    if locked(disk)? {
        node["encrypt"] = lock();
    }
    Ok(node)
}

/// How QEMU is told that a disk has the key.
pub fn lock() -> Value {
    json!({"format": "luks", "key-secret": "key"})
}

/// The kind of encryption in a qcow2 header, at byte 32: LUKS is 2.
fn locked(disk: &Path) -> std::io::Result<bool> {
    let mut header = [0u8; 36];
    std::fs::File::open(disk)?.read_exact(&mut header)?;
    Ok(header.ends_with(&[0, 0, 0, 2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_described_with_all_it_stands_on() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, backing: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut bytes = b"QFI\xfb\0\0\0\x03".to_vec();
            bytes.resize(36, 0);
            bytes[35] = 2;
            if !backing.is_empty() {
                (bytes[15], bytes[19]) = (36, backing.len() as u8);
                bytes.extend_from_slice(backing.as_bytes());
            }
            std::fs::write(&path, bytes).unwrap();
            path
        };
        write("layers/a/disk.qcow2", "");
        let disk = write("volumes/v/disk.qcow2", &layers::backing_name("a"));
        let node = node(&disk).unwrap();
        assert_eq!((&node["encrypt"], &node["backing"]["encrypt"]), (&lock(), &lock()));
        assert!(node["backing"]["file"]["filename"].as_str().unwrap().ends_with("layers/a/disk.qcow2"));
        assert_eq!(node["backing"]["backing"], Value::Null);
        assert!(options(&Secret { passphrase: "p".into(), cipher: "aes-256".into() }).contains("cipher-alg=aes-256"));
    }
}
