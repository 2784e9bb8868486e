//! Time-based one-time passwords (RFC 6238): six digits that change every half minute.

use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Seconds a code is shown.
const STEP: i64 = 30;

/// Whether a device with this secret shows the code now, or showed it a moment ago.
pub fn accepts(secret: &[u8], passcode: &str, now: i64) -> bool {
    [now, now - STEP].iter().any(|at| code(secret, at.div_euclid(STEP)).as_deref() == Some(passcode))
}

/// The secret in base32, as devices take it: any case, spaces and padding as one likes.
pub fn secret(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.trim_end_matches('=').bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let five = match letter.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(five);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

fn code(secret: &[u8], counter: i64) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).ok()?;
    mac.update(&counter.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest.last()? & 15);
    let four: [u8; 4] = digest.get(offset..offset + 4)?.try_into().ok()?;
    Some(format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last six digits of RFC 6238's own examples.
    #[test]
    fn codes_are_those_of_the_standard() {
        let key = secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        assert_eq!(key, b"12345678901234567890");
        for (time, passcode) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert!(accepts(&key, passcode, time) && accepts(&key, passcode, time + STEP), "{time}");
            assert!(!accepts(&key, passcode, time + 3 * STEP));
        }
        assert_eq!(secret("0189"), None);
    }
}
