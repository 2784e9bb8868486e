//! Keys that two QEMUs have in common, so that what they send each other is encrypted and comes from nobody else (TLS with a pre-shared key).
//!
//! QEMU reads a key from a file of a fixed name in a directory that is named to it; each is in the guest's own. So are other keys that it
//! opens disks with, which it has as [secrets](Key).

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use kit::Result;
use serde_json::{Value, json};

use super::account::Account;
use super::files::{Files, create_plain};
use super::qmp::Qmp;

/// Of the key that a guest on its way is sent under.
pub const NAME: &str = "journey";
pub const CLIENT: &str = "client";
pub const SERVER: &str = "server";
/// Both ends call themselves so.
const USER: &str = "cumulo";

/// A new key: 32 bytes in hexadecimal digits.
pub fn new_key() -> String {
    kit::ids::hex() + &kit::ids::hex()
}

/// Writes a key where QEMU finds it.
pub fn write(files: &Files, account: Account, name: &str, key: &str) -> Result<()> {
    let dir = dir(files, name);
    account.private_dir(&dir)?;
    let path = dir.join("keys.psk");
    writeln!(create_plain(&path)?, "{USER}:{key}")?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400))?;
    account.own(&path)
}

/// The object for `-object` and `object-add` alike.
pub fn object(files: &Files, name: &str, endpoint: &str) -> Value {
    let mut object = json!({"qom-type": "tls-creds-psk", "id": name, "dir": dir(files, name), "endpoint": endpoint});
    if endpoint == CLIENT {
        object["username"] = json!(USER);
    }
    object
}

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A connection: a key that both ends have.
    Tls,
    /// A Ceph cluster, to its user: in base64.
    Ceph,
    /// A disk that is encrypted: its passphrase.
    Luks,
}

/// Something that a disk is opened with.
pub struct Key<'a> {
    /// The object's.
    pub name: String,
    pub purpose: Purpose,
    pub text: &'a str,
}

impl Key<'_> {
    /// Writes it where QEMU finds it.
    pub fn write(&self, files: &Files, account: Account) -> Result<()> {
        if self.purpose == Purpose::Tls {
            return write(files, account, &self.name, self.text);
        }
        account.private_dir(&dir(files, &self.name))?;
        let path = secret(files, &self.name);
        write!(create_plain(&path)?, "{}", self.text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400))?;
        account.own(&path)
    }

    /// The object for `-object` and `object-add` alike.
    pub fn object(&self, files: &Files) -> Value {
        let format = match self.purpose {
            Purpose::Tls => return object(files, &self.name, CLIENT),
            Purpose::Ceph => "base64",
            Purpose::Luks => "raw",
        };
        json!({"qom-type": "secret", "id": self.name, "file": secret(files, &self.name), "format": format})
    }
}

fn secret(files: &Files, name: &str) -> PathBuf {
    dir(files, name).join("secret")
}

/// Gives a QEMU that runs the key of a journey, which was written before.
pub async fn give(qmp: &Qmp, files: &Files, endpoint: &str) -> Result<()> {
    take_back(qmp).await;
    qmp.execute("object-add", object(files, NAME, endpoint)).await.map(drop)
}

/// Takes it from it; usually there is none.
pub async fn take_back(qmp: &Qmp) {
    let _ = qmp.execute("object-del", json!({"id": NAME})).await;
}

fn dir(files: &Files, name: &str) -> PathBuf {
    files.dir().join(format!("key-{name}"))
}
