//! Sealing with Fernet: tokens, receipts, the secrets of credentials. Nothing about a token is stored unless it is revoked.
//!
//! A repository is keystone's own: files named by numbers, the highest is the primary (it seals), `0` is staged (the next primary), and
//! the others still open what they sealed. [`rotate`] makes the staged key primary and stages a new one, so that several keystones can
//! take over the files one after the other; a running keystone sees the change within a second.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use fernet::{Fernet, MultiFernet};
use kit::files::write_private;
use kit::{Error, Result};

use super::claims::Claims;

/// How long the keys at hand are believed to be those of the repository.
const BELIEF: Duration = Duration::from_secs(1);

/// The keys of a repository.
pub struct Keys {
    dir: PathBuf,
    ring: RwLock<Ring>,
}

#[derive(Clone)]
struct Ring {
    keys: Arc<MultiFernet>,
    /// When the directory was changed last, and when that was looked at.
    changed: Option<SystemTime>,
    looked: Instant,
}

impl Keys {
    /// Reads the repository, or makes one with a staged and a primary key.
    pub fn open(dir: &Path) -> Result<Keys> {
        if numbers(dir)?.is_empty() {
            write(dir, 0)?;
            write(dir, 1)?;
        }
        Ok(Keys { dir: dir.to_owned(), ring: RwLock::new(load(dir)?) })
    }

    /// The token that makes these claims.
    pub fn seal_token(&self, claims: &Claims) -> String {
        self.seal(&claims.encode())
    }

    /// What a token claims, if one of our keys sealed it. Whether that still holds is another question.
    pub fn open_token(&self, token: &str) -> Option<Claims> {
        Claims::decode(&self.unseal(token)?)
    }

    pub fn seal(&self, bytes: &[u8]) -> String {
        self.current().encrypt(bytes).trim_end_matches('=').to_owned()
    }

    /// What was sealed with one of the keys.
    pub fn unseal(&self, text: &str) -> Option<Vec<u8>> {
        let padding = (4 - text.len() % 4) % 4;
        self.current().decrypt(&format!("{text}{}", "=".repeat(padding))).ok()
    }

    /// The keys, read again when the repository has changed. The look is one `stat` a second, which no thread is worth.
    fn current(&self) -> Arc<MultiFernet> {
        let known = self.ring.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.looked.elapsed() < BELIEF {
            return known.keys;
        }
        let fresh = if changed(&self.dir) == known.changed { Ring { looked: Instant::now(), ..known } } else { self.load_again(known) };
        let keys = fresh.keys.clone();
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        keys
    }

    /// A repository that cannot be read at this moment leaves the keys as they are.
    fn load_again(&self, known: Ring) -> Ring {
        load(&self.dir).unwrap_or_else(|error| {
            tracing::warn!(dir = %self.dir.display(), %error, "the keys cannot be read again");
            Ring { looked: Instant::now(), ..known }
        })
    }
}

fn load(dir: &Path) -> Result<Ring> {
    let changed = changed(dir);
    let keys = numbers(dir)?.iter().rev().map(|number| read(dir, *number)).collect::<Result<Vec<_>>>()?;
    if keys.is_empty() {
        return Err(Error::internal(format!("{} has no keys", dir.display())));
    }
    Ok(Ring { keys: Arc::new(MultiFernet::new(keys)), changed, looked: Instant::now() })
}

fn changed(dir: &Path) -> Option<SystemTime> {
    fs::metadata(dir).and_then(|data| data.modified()).ok()
}

/// Makes the staged key primary, stages a new one and forgets the oldest beyond `keep` keys.
pub fn rotate(dir: &Path, keep: usize) -> Result<()> {
    let known = numbers(dir)?;
    let Some(highest) = known.last() else {
        write(dir, 0)?;
        return write(dir, 1);
    };
    fs::rename(dir.join("0"), dir.join((highest + 1).to_string()))?;
    write(dir, 0)?;
    let known = numbers(dir)?;
    // the staged key is the first and always stays, so the oldest is the second
    for number in known.iter().skip(1).take(known.len().saturating_sub(keep.max(2))) {
        fs::remove_file(dir.join(number.to_string()))?;
    }
    Ok(())
}

/// The numbers of the keys there are, lowest first.
fn numbers(dir: &Path) -> Result<Vec<u64>> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn read(dir: &Path, number: u64) -> Result<Fernet> {
    let path = dir.join(number.to_string());
    let text = fs::read_to_string(&path)?;
    Fernet::new(text.trim()).ok_or_else(|| Error::internal(format!("{} is no Fernet key", path.display())))
}

/// Writes a new key.
fn write(dir: &Path, number: u64) -> Result<()> {
    Ok(write_private(&dir.join(number.to_string()), Fernet::generate_key().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::claims::tests::example;

    #[test]
    fn tokens_outlive_rotations_until_their_key_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        let token = Keys::open(&dir).unwrap().seal_token(&example());
        assert!(token.len() < 256 && !token.contains('='), "{token}");
        rotate(&dir, 3).unwrap();
        assert_eq!(Keys::open(&dir).unwrap().open_token(&token), Some(example()));
        rotate(&dir, 3).unwrap();
        assert_eq!(numbers(&dir).unwrap(), [0, 2, 3]);
        assert_eq!(Keys::open(&dir).unwrap().open_token(&token), None);
    }

    #[test]
    fn a_running_keystone_sees_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let before = keys.seal_token(&example());
        rotate(dir.path(), 3).unwrap();
        keys.ring.write().unwrap().looked -= BELIEF;
        let after = keys.seal_token(&example());
        assert_eq!(Keys::open(dir.path()).unwrap().open_token(&after), Some(example()));
        assert_eq!(keys.open_token(&before), Some(example()));
        // what the new primary sealed, the staged key of old opens too; a second rotation takes the first primary away
        rotate(dir.path(), 2).unwrap();
        keys.ring.write().unwrap().looked -= BELIEF;
        assert_eq!(keys.open_token(&before), None);
    }

    #[test]
    fn strangers_tokens_open_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        for token in ["", "x", "gAAAAA", "not base64 at all!", &Fernet::new(&Fernet::generate_key()).unwrap().encrypt(b"hello")] {
            assert_eq!(keys.open_token(token), None);
        }
    }
}
