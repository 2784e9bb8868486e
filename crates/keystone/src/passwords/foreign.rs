//! Hashes that came along with an imported keystone: bcrypt, bcrypt_sha256, scrypt and pbkdf2_sha512 in the forms passlib writes.
//!
//! They are only verified, never made: a new password is always hashed by argon2id.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use hmac::{Hmac, Mac};
use scrypt::password_hash::{PasswordHash, PasswordVerifier};
use sha2::{Digest, Sha256, Sha512};

/// Whether the password is the one; `None` when the hash is of no form known here.
pub fn verify(password: &[u8], hash: &str) -> Option<bool> {
    let (scheme, rest) = hash.strip_prefix('$')?.split_once('$')?;
    match scheme {
        "2a" | "2b" | "2y" => bcrypt::verify(password, hash).ok(),
        "bcrypt-sha256" => bcrypt_sha256(password, rest),
        "scrypt" => Some(scrypt::Scrypt.verify_password(password, &PasswordHash::new(hash).ok()?).is_ok()),
        "pbkdf2-sha512" => pbkdf2_sha512(password, rest),
        _ => None,
    }
}

/// `25000$SALT$DIGEST`, in base64 with `.` for `+` and no padding.
fn pbkdf2_sha512(password: &[u8], rest: &str) -> Option<bool> {
    let mut parts = rest.split('$');
    let rounds = parts.next()?.parse().ok()?;
    let mut decoded = parts.map(|part| BASE64_STANDARD_NO_PAD.decode(part.replace('.', "+")).ok());
    let (salt, digest) = (decoded.next()??, decoded.next()??);
    let mut derived = vec![0; digest.len()];
    pbkdf2::pbkdf2_hmac::<Sha512>(password, &salt, rounds, &mut derived);
    Some(same(&derived, &digest))
}

/// `v=2,t=2b,r=12$SALT$DIGEST`, or `2b,12$SALT$DIGEST` of the first version: bcrypt of a digest, so that no password is too long.
fn bcrypt_sha256(password: &[u8], rest: &str) -> Option<bool> {
    let mut parts = rest.split('$');
    let (parameters, salt, digest) = (parts.next()?, parts.next()?, parts.next()?);
    let (prehash, kind, rounds) = match parameters.strip_prefix("v=2,t=") {
        Some(parameters) => {
            let (kind, rounds) = parameters.split_once(",r=")?;
            let mut mac = Hmac::<Sha256>::new_from_slice(salt.as_bytes()).ok()?;
            mac.update(password);
            (mac.finalize().into_bytes().to_vec(), kind, rounds)
        }
        None => {
            let (kind, rounds) = parameters.split_once(',')?;
            (Sha256::digest(password).to_vec(), kind, rounds)
        }
    };
    let rounds: u32 = rounds.parse().ok()?;
    bcrypt::verify(BASE64_STANDARD.encode(prehash), &format!("${kind}${rounds:02}${salt}{digest}")).ok()
}

/// Compares without telling by its time where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by passlib, except the cheap bcrypt.
    #[test]
    fn hashes_of_an_imported_keystone_are_verified() {
        for hash in HASHES {
            assert_eq!(verify(b"correct horse", hash), Some(true), "{hash}");
            assert_eq!(verify(b"battery staple", hash), Some(false), "{hash}");
        }
        for odd in ["", "plain", "$1$abc$def", "$pbkdf2-sha512$x$y$z", "$bcrypt-sha256$v=2"] {
            assert_ne!(verify(b"correct horse", odd), Some(true), "{odd}");
        }
    }

    const HASHES: &[&str] = &[
        "$2b$04$fu3v2PvdrFW5v75ET6hGNepvkdmcUg5MJHHKrI45xs23VCIE0KnnO",
        "$bcrypt-sha256$v=2,t=2b,r=4$vFstICzOwq3Z.rrjiIasFu$SzpnYYntjzrkLP9BER4UbmzJz0T9GoO",
        "$scrypt$ln=8,r=8,p=1$1dq7t1YKQYgRYgzhvDcmZA$mF8nCFFu3a1Uxdc91Vbtk/2WFtPdujtCQpAig75PZeQ",
        "$pbkdf2-sha512$1000$7B2j1Po/5zxHSOmd876XMg$BzYswByeufZ/tEZ..CB8SCEzJGnCfOsgPolD4Td8Jx8fqd/PbMmPeF924aAk.RkWq7KbZyYXQpQoen94gS9lBg",
    ];
}
