//! Certificates that nova makes: self-signed, for a client to log in with, as Windows guests know them. X.509 is written out here, because
//! one fixed form of it is a page long.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kit::clock::Timestamp;
use kit::{Error, Result};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

/// Ten years, as nova has it.
const LIFE: std::time::Duration = std::time::Duration::from_secs(3650 * 86_400);

// tags
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

// object identifiers, encoded
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// The name a Windows guest maps to an account.
const PRINCIPAL_NAME: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x14, 0x02, 0x03];

/// A certificate for a user, and its private key, both in PEM.
pub fn generate(user_id: &str) -> Result<(String, String)> {
    let random = SystemRandom::new();
    let failed = |_| Error::internal("no key could be made");
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(failed)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &random)
        .map_err(|error| Error::internal(error.to_string()))?;
    let mut serial = [0_u8; 16];
    ring::rand::SecureRandom::fill(&random, &mut serial).map_err(failed)?;
    let told = to_be_signed(user_id, &serial, pair.public_key().as_ref());
    let signature = pair.sign(&random, &told).map_err(failed)?;
    let certificate = sequence(&[&told, &algorithm(), &bits(signature.as_ref())]);
    Ok((pem("CERTIFICATE", &certificate), pem("PRIVATE KEY", key.as_ref())))
}

fn to_be_signed(user_id: &str, serial: &[u8; 16], public_key: &[u8]) -> Vec<u8> {
    // a leading byte keeps the number positive and of one length
    let serial = tlv(INTEGER, &[&[0x01], serial.as_slice()].concat());
    let name = sequence(&[&tlv(SET, &sequence(&[&tlv(OID, COMMON_NAME), &tlv(UTF8, user_id.as_bytes())]))]);
    let now = Timestamp::now();
    let validity = sequence(&[&time(now), &time(now.plus(LIFE))]);
    let key = sequence(&[&sequence(&[&tlv(OID, EC_PUBLIC_KEY), &tlv(OID, PRIME256V1)]), &bits(public_key)]);
    let version = tlv(0xa0, &tlv(INTEGER, &[2]));
    sequence(&[&version, &serial, &algorithm(), &name, &validity, &name, &key, &tlv(0xa3, &extensions(user_id))])
}

fn extensions(user_id: &str) -> Vec<u8> {
    let usage = sequence(&[&tlv(OID, CLIENT_AUTH)]);
    let principal = tlv(UTF8, format!("{user_id}@localhost").as_bytes());
    let other_name = tlv(0xa0, &[tlv(OID, PRINCIPAL_NAME), tlv(0xa0, &principal)].concat());
    let extension = |id: &[u8], value: &[u8]| sequence(&[&tlv(OID, id), &tlv(OCTET_STRING, value)]);
    sequence(&[&extension(EXTENDED_KEY_USAGE, &usage), &extension(SUBJECT_ALT_NAME, &sequence(&[&other_name]))])
}

fn algorithm() -> Vec<u8> {
    sequence(&[&tlv(OID, ECDSA_WITH_SHA256)])
}

/// `YYMMDDHHMMSSZ`, good until 2049.
fn time(at: Timestamp) -> Vec<u8> {
    let digits: String = at.to_seconds_z().chars().filter(char::is_ascii_digit).skip(2).collect();
    tlv(UTC_TIME, format!("{digits}Z").as_bytes())
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes].concat())
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

/// Tag, length, value.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut all = vec![tag];
    match significant.as_slice() {
        [] => all.push(0),
        [one] if *one < 0x80 => all.push(*one),
        more => {
            all.push(0x80 | more.len() as u8);
            all.extend(more);
        }
    }
    all.extend(value);
    all
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = format!("-----BEGIN {what}-----\n");
    for (index, letter) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            lines.push('\n');
        }
        lines.push(letter);
    }
    lines + &format!("\n-----END {what}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keypairs::keys::certificate_fingerprint;

    #[test]
    fn lengths_are_written_as_short_as_they_can_be() {
        assert_eq!(tlv(4, &[]), [4, 0]);
        assert_eq!(tlv(4, &[7; 127])[..2], [4, 127]);
        assert_eq!(tlv(4, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(tlv(4, &[7; 300])[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn a_certificate_has_a_key_and_a_fingerprint() {
        let (certificate, key) = generate("u1").unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n") && key.ends_with("-----END PRIVATE KEY-----\n"));
        assert!(certificate.lines().all(|line| line.len() <= 64));
        assert_eq!(certificate_fingerprint(&certificate).unwrap().len(), 59);
    }
}
