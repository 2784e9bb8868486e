//! Fernet tokens: what a token claims, sealed with a key of the repository. Nothing about a token is stored unless it is revoked.
//!
//! The repository is keystone's own: files named by numbers, the highest is the primary (it seals), `0` is staged (the next primary), and
//! the others still open what they sealed. [`rotate`] makes the staged key primary and stages a new one, so that several keystones can
//! take over the files one after the other.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use fernet::{Fernet, MultiFernet};
use kit::{Error, Result};

use super::claims::Claims;

/// The keys of a repository.
pub struct Keys(MultiFernet);

impl Keys {
    /// Reads the repository, or makes one with a staged and a primary key.
    pub fn open(dir: &Path) -> Result<Keys> {
        let mut numbers = numbers(dir)?;
        if numbers.is_empty() {
            write(dir, 0)?;
            write(dir, 1)?;
            numbers = vec![0, 1];
        }
        let keys = numbers.iter().rev().map(|number| read(dir, *number)).collect::<Result<Vec<_>>>()?;
        Ok(Keys(MultiFernet::new(keys)))
    }

    /// The token that makes these claims.
    pub fn seal(&self, claims: &Claims) -> String {
        self.0.encrypt(&claims.encode()).trim_end_matches('=').to_owned()
    }

    /// What a token claims, if one of our keys sealed it. Whether that still holds is another question.
    pub fn open_token(&self, token: &str) -> Option<Claims> {
        let padding = (4 - token.len() % 4) % 4;
        let padded = format!("{token}{}", "=".repeat(padding));
        Claims::decode(&self.0.decrypt(&padded).ok()?)
    }
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

/// Writes a new key under a passing name first, so that nobody ever reads half of one.
fn write(dir: &Path, number: u64) -> Result<()> {
    let passing = dir.join(format!(".{number}.new"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&passing)?;
    file.write_all(Fernet::generate_key().as_bytes())?;
    file.sync_all()?;
    Ok(fs::rename(passing, dir.join(number.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::claims::tests::example;

    #[test]
    fn tokens_outlive_rotations_until_their_key_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        let token = Keys::open(&dir).unwrap().seal(&example());
        assert!(token.len() < 256 && !token.contains('='), "{token}");
        rotate(&dir, 3).unwrap();
        assert_eq!(Keys::open(&dir).unwrap().open_token(&token), Some(example()));
        rotate(&dir, 3).unwrap();
        assert_eq!(numbers(&dir).unwrap(), [0, 2, 3]);
        assert_eq!(Keys::open(&dir).unwrap().open_token(&token), None);
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
