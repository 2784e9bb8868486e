//! Keys themselves: reading what was imported, making new ones, fingerprints as OpenStack writes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::{Error, Result};
use md5::{Digest, Md5};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

/// The fingerprint of a public key in OpenSSH's form; 400 when it is none.
pub fn fingerprint(public_key: &str) -> Result<String> {
    let mut words = public_key.split_whitespace();
    let (kind, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let known = kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-");
    let blob = STANDARD.decode(data).ok().filter(|blob| known && names(blob, kind));
    let blob = blob.ok_or_else(|| Error::bad_request("Keypair data is invalid: failed to generate fingerprint"))?;
    Ok(colons(&Md5::digest(&blob)))
}

/// The fingerprint of a certificate in PEM; 400 when it is none.
pub fn certificate_fingerprint(pem: &str) -> Result<String> {
    let body = pem.trim().strip_prefix("-----BEGIN CERTIFICATE-----").and_then(|rest| rest.strip_suffix("-----END CERTIFICATE-----"));
    let der = body.and_then(|body| STANDARD.decode(body.split_whitespace().collect::<String>()).ok());
    let der = der.ok_or_else(|| Error::bad_request("Keypair data is invalid: failed to generate X509 fingerprint"))?;
    Ok(colons(&sha1::Sha1::digest(&der)))
}

/// A new key: (public, private) in OpenSSH's forms.
pub fn generate(comment: &str) -> Result<(String, String)> {
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(Error::internal)?;
    key.set_comment(comment);
    let private = key.to_openssh(LineEnding::LF).map_err(Error::internal)?;
    let public = key.public_key().to_openssh().map_err(Error::internal)?;
    Ok((public, private.to_string()))
}

/// A key's blob begins with the length and the name of its kind.
fn names(blob: &[u8], kind: &str) -> bool {
    let length = u32::try_from(kind.len()).unwrap_or_default().to_be_bytes();
    blob.get(..4) == Some(&length[..]) && blob.get(4..4 + kind.len()) == Some(kind.as_bytes())
}

fn colons(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_keys_can_be_read_again() {
        let (public, private) = generate("Generated-by-Nova").unwrap();
        assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
        assert_eq!(fingerprint(&public).unwrap().len(), 47);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "ssh-rsa", "ssh-rsa bad", "ssh-rsa AAAAB3NzaC1kc3M=", "hello world"] {
            assert!(fingerprint(text).is_err(), "{text}");
        }
        assert!(certificate_fingerprint("-----BEGIN CERTIFICATE-----").is_err());
    }
}
