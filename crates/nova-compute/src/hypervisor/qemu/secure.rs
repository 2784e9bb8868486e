//! Keys that two QEMUs have in common, so that what they send each other is encrypted and comes from nobody else (TLS with a pre-shared key).
//!
//! QEMU reads a key from a file of a fixed name in a directory that is named to it; each is in the guest's own.

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
