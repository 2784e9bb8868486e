//! Volumes of Ceph clusters, which guests' QEMU opens by itself. This host has the keyring of the user that cinder names, as every compute
//! host of an OpenStack with Ceph has it; the passphrase of an encrypted volume is asked for each time, and is kept nowhere.

use std::path::Path;
use std::time::Duration;

use kit::{Error, Result};
use rpc::volume::{FetchSecret, SERVER_TOPIC};
use sdk::volume::Rbd;

use crate::host::Host;
use crate::hypervisor::{DiskSource, RbdImage};

/// How long cinder may take to say what a passphrase is.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn source(host: &Host, rbd: &Rbd) -> Result<DiskSource> {
    let unknown = || Error::bad_request(format!("{} is no image in a Ceph pool.", rbd.name));
    let (pool, image) = rbd.pool_and_image().ok_or_else(unknown)?;
    let key = match &rbd.auth_username {
        Some(user) => Some(key(&host.config.ceph_directory, &rbd.cluster_name, user).await?),
        None => None,
    };
    let passphrase = match (&rbd.volume_id, rbd.encrypted) {
        (Some(id), true) => Some(passphrase(host, id).await?),
        _ => None,
    };
    let (pool, image, user) = (pool.to_owned(), image.to_owned(), rbd.auth_username.clone());
    let servers = rbd.servers().map(|(host, port)| (host.to_owned(), port.to_owned())).collect();
    Ok(DiskSource::Rbd(Box::new(RbdImage { pool, image, servers, user, key, passphrase })))
}

async fn passphrase(host: &Host, volume_id: &str) -> Result<String> {
    let secret = host.bus.call(SERVER_TOPIC, FetchSecret { id: volume_id.to_owned() }, PATIENCE).await?;
    let missing = || Error::unavailable(format!("The key of volume {volume_id} is not known, and without it its data cannot be read."));
    Ok(secret.ok_or_else(missing)?.passphrase)
}

/// The key of a user from their keyring.
async fn key(directory: &Path, cluster: &str, user: &str) -> Result<String> {
    // both become part of a path
    let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !plain(cluster) || !plain(user) {
        return Err(Error::bad_request(format!("{cluster} and {user} name no keyring.")));
    }
    let path = directory.join(format!("{cluster}.client.{user}.keyring"));
    let unreadable = |why: &str| Error::unavailable(format!("This host has no key of Ceph's client.{user}: {} {why}.", path.display()));
    let text = tokio::fs::read_to_string(&path).await.map_err(|error| unreadable("cannot be read").source(error))?;
    key_in(&text, user).ok_or_else(|| unreadable("does not tell it"))
}

fn key_in(keyring: &str, user: &str) -> Option<String> {
    let section = format!("[client.{user}]");
    let mut lines = keyring.lines().map(str::trim).skip_while(|line| *line != section).skip(1).take_while(|line| !line.starts_with('['));
    lines.find_map(|line| Some(line.strip_prefix("key")?.trim_start().strip_prefix('=')?.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_own_section() {
        let keyring = "[client.admin]\n\tkey = AAA=\n[client.cinder]\n\tcaps mon = \"profile rbd\"\n\tkey = BBB==\n";
        assert_eq!(key_in(keyring, "cinder").as_deref(), Some("BBB=="));
        assert_eq!(key_in(keyring, "admin").as_deref(), Some("AAA="));
        assert_eq!(key_in(keyring, "glance"), None);
    }

    #[tokio::test]
    async fn a_keyring_that_is_not_here_is_named() {
        let error = key(Path::new("/nonexistent"), "ceph", "cinder").await.unwrap_err();
        assert!(error.message.contains("/nonexistent/ceph.client.cinder.keyring"), "{error}");
        assert!(key(Path::new("/nonexistent"), "../x", "cinder").await.unwrap_err().kind == kit::Kind::BadRequest);
    }
}
