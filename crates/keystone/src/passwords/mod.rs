//! Passwords: argon2id with OWASP's parameters, on threads of their own ([`hashers`]).
//!
//! A hash takes tens of milliseconds and 19 MiB by design, so logins queue; a queue that is full answers 503 at once instead of growing.
//! [`foreign`] verifies what an imported keystone hashed, [`rules`] is the operator's policy on passwords, [`attempts`] slows guesses down.

pub mod attempts;
mod foreign;
mod hashers;
pub mod rules;

use argon2::password_hash::{self, Output, ParamsString, PasswordHash, Salt, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use rand::RngCore;

use hashers::{Hashers, Memory};
use kit::{Error, Result};

/// Longer passwords are refused: hashing them would be a way to keep the service busy.
const LONGEST: usize = 4096;
/// What an unknown user's password is compared with, so that it takes as long as a known one's. Nobody knows a password for it.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3MgcGFzc3dvcmQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and verifies.
pub struct Passwords {
    argon2: Argon2<'static>,
    hashers: Hashers,
}

impl Passwords {
    pub fn new() -> Result<Passwords> {
        give_memory_back();
        let params = Params::new(19 * 1024, 2, 1, None).map_err(broken)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(Passwords { argon2, hashers: Hashers::start()? })
    }

    /// The hash of a new password, in PHC form.
    pub async fn hash(&self, password: &str) -> Result<String> {
        if password.len() > LONGEST {
            return Err(Error::bad_request(format!("Invalid input for field 'password': it is longer than {LONGEST} bytes.")));
        }
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        self.hashers.run(move |memory| hash_now(&argon2, &password, memory)).await?
    }

    /// Whether the password is the one; `None` stands for a user who does not exist or has none, and takes as long.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let known = hash.is_some();
        let hash = hash.unwrap_or(DECOY).to_owned();
        let password = password.to_owned();
        let matches = self.hashers.run(move |memory| match hash.starts_with("$argon2") {
            true => matches(&password, &hash, memory).map_err(broken),
            false => foreign::verify(password.as_bytes(), &hash).ok_or_else(|| broken("a password hash has an unknown form")),
        });
        Ok(matches.await?? && known)
    }
}

/// glibc learns from the first freed 19 MiB to keep such blocks, in each thread's arena, for good. With a fixed threshold each hash's
/// memory goes back to the system when it is done.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
fn give_memory_back() {
    // SAFETY: mallopt takes two integers and may be called at any time
    unsafe { nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, 1 << 20) };
}

#[cfg(not(target_env = "gnu"))]
fn give_memory_back() {}

fn hash_now(argon2: &Argon2<'_>, password: &str, memory: &mut Memory) -> Result<String> {
    let mut salt = [0u8; 16];
    rand::rng().fill_bytes(&mut salt);
    let salt = SaltString::encode_b64(&salt).map_err(broken)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params()).map_err(broken)?,
        salt: Some(salt.as_salt()),
        hash: Some(derive(argon2, password, salt.as_salt(), memory).map_err(broken)?),
    };
    Ok(hash.to_string())
}

/// Whether a password leads to a hash, by the parameters that the hash names.
fn matches(password: &str, hash: &str, memory: &mut Memory) -> password_hash::Result<bool> {
    let known = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (known.salt, known.hash) else { return Ok(false) };
    let version = known.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let argon2 = Argon2::new(Algorithm::try_from(known.algorithm)?, version, Params::try_from(&known)?);
    // compared in constant time
    Ok(derive(&argon2, password, salt, memory)? == expected)
}

fn derive(argon2: &Argon2<'_>, password: &str, salt: Salt<'_>, memory: &mut Memory) -> password_hash::Result<Output> {
    let mut bytes = [0u8; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut bytes)?;
    let blocks = memory.blocks(argon2.params().block_count());
    let length = argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    Output::init_with(length, |out| Ok(argon2.hash_password_into_with_memory(password.as_bytes(), salt, out, blocks)?))
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_passes() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(passwords.verify("correct horse", Some(&hash)).await.unwrap());
        assert!(!passwords.verify("battery staple", Some(&hash)).await.unwrap());
        assert!(!passwords.verify("nobody's password", None).await.unwrap());
    }
}
