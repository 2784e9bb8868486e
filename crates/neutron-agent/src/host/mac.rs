//! A MAC address, parsed once, so that text from outside never reaches a ruleset or a configuration file.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac([u8; 6]);

impl Mac {
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    /// The link-local address that follows from it (EUI-64).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0.map(u16::from);
        Ipv6Addr::new(0xfe80, 0, 0, 0, ((a ^ 2) << 8) | b, (c << 8) | 0xff, 0xfe00 | d, (e << 8) | f)
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Mac, Error> {
        let bytes: Result<Vec<u8>, _> = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Mac).ok_or_else(|| Error::internal(format!("{text} is no MAC address")))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_six_bytes_are_a_mac() {
        let mac: Mac = "FA:16:3e:0:1:11".parse().unwrap();
        assert_eq!(mac.to_string(), "fa:16:3e:00:01:11");
        assert_eq!(mac.link_local().to_string(), "fe80::f816:3eff:fe00:111");
        for text in ["", "fa:16:3e:00:01", "fa:16:3e:00:01:11:22", "fa:16:3e:00:01:1g", "x } flush ruleset"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
