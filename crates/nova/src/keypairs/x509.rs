//! Certificates that nova makes: self-signed, for a client to log in with, as Windows guests know them.

use kit::{Error, Result};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, OtherNameValue, SanType};

/// The name a Windows guest maps to an account.
const PRINCIPAL_NAME: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 20, 2, 3];
/// Ten years, as nova has it.
const LIFE: time::Duration = time::Duration::days(3650);

/// A certificate for a user, and its private key, both in PEM.
pub fn generate(user_id: &str) -> Result<(String, String)> {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, user_id);
    let principal = OtherNameValue::Utf8String(format!("{user_id}@localhost"));
    params.subject_alt_names = vec![SanType::OtherName((PRINCIPAL_NAME.to_vec(), principal))];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = time::OffsetDateTime::now_utc();
    params.not_after = params.not_before + LIFE;
    let key = KeyPair::generate().map_err(Error::internal)?;
    let certificate = params.self_signed(&key).map_err(Error::internal)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keypairs::keys::certificate_fingerprint;

    #[test]
    fn a_certificate_has_a_key_and_a_fingerprint() {
        let (certificate, key) = generate("u1").unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----") && key.trim_end().ends_with("-----END PRIVATE KEY-----"));
        assert!(certificate.lines().all(|line| line.len() <= 64));
        assert_eq!(certificate_fingerprint(&certificate).unwrap().len(), 59);
    }
}
