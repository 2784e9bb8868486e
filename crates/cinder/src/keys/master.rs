//! What seals the keys: a private file with a master key on each line. The first seals, all open. It is read each time it is needed, which
//! is seldom, so that a new key counts at once for every process that shares the file.

use std::path::{Path, PathBuf};

use fernet::{Fernet, MultiFernet};
use kit::clock::Timestamp;
use kit::files::{make_private, write_private};
use kit::{Error, Result, ids};
use rpc::volume::Secret;

use super::Key;

/// The file of the master key.
pub struct MasterKey(PathBuf);

impl MasterKey {
    /// Makes the file when there is none. Processes that share a database share the file.
    pub fn open(path: &Path) -> Result<MasterKey> {
        if !path.try_exists()? {
            make_private(path, Fernet::generate_key().as_bytes())?;
        }
        let key = MasterKey(path.to_owned());
        key.read().map(|_| key)
    }

    /// A new key, not yet in the database.
    pub fn new_key(&self, project: &str, cipher: &str) -> Result<Key> {
        let passphrase = format!("{}{}", ids::hex(), ids::hex());
        Ok(Key {
            id: ids::uuid(),
            project_id: project.to_owned(),
            cipher: cipher.to_owned(),
            sealed: self.seal(&passphrase)?,
            created_at: Timestamp::now(),
            image_id: None,
        })
    }

    pub fn seal(&self, passphrase: &str) -> Result<String> {
        Ok(MultiFernet::new(self.read()?).encrypt(passphrase.as_bytes()))
    }

    pub fn reveal(&self, key: &Key) -> Result<Secret> {
        let bytes = MultiFernet::new(self.read()?).decrypt(&key.sealed);
        let bytes = bytes.map_err(|_| Error::internal("a key was sealed with a master key that is not in the file"))?;
        Ok(Secret { passphrase: String::from_utf8(bytes).map_err(Error::internal)?, cipher: key.cipher.clone() })
    }

    /// A new first key; of the others only the one that was first stays.
    pub fn begin_new(&self) -> Result<()> {
        let text = std::fs::read_to_string(&self.0)?;
        let last = text.lines().next().unwrap_or_default();
        Ok(write_private(&self.0, format!("{}\n{last}\n", Fernet::generate_key()).as_bytes())?)
    }

    fn read(&self) -> Result<Vec<Fernet>> {
        let text = std::fs::read_to_string(&self.0)?;
        let keys: Option<Vec<Fernet>> = text.lines().map(|line| Fernet::new(line.trim())).collect();
        let keys = keys.filter(|keys| !keys.is_empty());
        keys.ok_or_else(|| Error::internal(format!("{} holds no master key", self.0.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sealed_with_the_key_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/master");
        let key = MasterKey::open(&path).unwrap().new_key("p", "aes-256").unwrap();
        let secret = MasterKey::open(&path).unwrap().reveal(&key).unwrap();
        assert_eq!((secret.passphrase.len(), &*secret.cipher), (64, "aes-256"));
        assert!(!key.sealed.contains(&secret.passphrase) && !format!("{secret:?}").contains(&secret.passphrase));
        assert!(MasterKey::open(&dir.path().join("other")).unwrap().reveal(&key).is_err());
    }

    #[test]
    fn a_new_master_key_opens_what_the_last_one_sealed_and_not_what_was_before() {
        let dir = tempfile::tempdir().unwrap();
        let master = MasterKey::open(&dir.path().join("master")).unwrap();
        let mut key = master.new_key("p", "aes-256").unwrap();
        let secret = master.reveal(&key).unwrap();
        master.begin_new().unwrap();
        assert_eq!(master.reveal(&key).unwrap(), secret);
        let old = std::mem::replace(&mut key.sealed, master.seal(&secret.passphrase).unwrap());
        master.begin_new().unwrap();
        assert_eq!(master.reveal(&key).unwrap(), secret);
        assert!(master.reveal(&Key { sealed: old, ..key }).is_err());
    }
}
