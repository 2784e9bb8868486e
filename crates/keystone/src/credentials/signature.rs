//! Requests signed in Amazon's ways: which signature a secret key would have given a request.
//!
//! The versions are 0, 1, 2 and 4 of EC2 requests, and 1 and 4 of S3's, where the client sends the very text that was signed.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A signed request as the service that received it describes it.
#[derive(Debug, Default, Deserialize)]
pub struct Signed {
    pub access: String,
    pub signature: String,
    #[serde(default)]
    pub host: String,
    #[serde(default)]
    pub verb: String,
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body_hash: String,
    /// S3: the text that was signed, in base64.
    #[serde(default)]
    pub token: Option<String>,
}

impl Signed {
    /// Whether the secret key signed this EC2 request; the host may have been signed with its port or without.
    pub fn is_ec2_by(&self, secret: &str) -> bool {
        let bare = self.host.rsplit_once(':').map_or(self.host.as_str(), |(host, _)| host);
        [self.host.as_str(), bare].iter().any(|host| self.ec2(secret, host).is_some_and(|wanted| same(&wanted, &self.signature)))
    }

    /// Whether the secret key signed this S3 request.
    pub fn is_s3_by(&self, secret: &str) -> bool {
        self.s3(secret).is_some_and(|wanted| same(&wanted, &self.signature))
    }

    /// When the request says it was made.
    pub fn date(&self) -> Option<&str> {
        let named = |map: &'_ BTreeMap<String, String>, key: &str| map.keys().find(|k| k.eq_ignore_ascii_case(key)).cloned();
        let of_headers = named(&self.headers, "X-Amz-Date").and_then(|key| self.headers.get(&key));
        let of_params = self.params.get("X-Amz-Date").or_else(|| self.params.get("Timestamp"));
        of_headers.or(of_params).map(String::as_str)
    }

    fn ec2(&self, secret: &str, host: &str) -> Option<String> {
        let version = self.params.get("SignatureVersion").map(String::as_str);
        let param = |key: &str| self.params.get(key).map(String::as_str).unwrap_or_default();
        match version {
            Some("0") => Some(sha1(secret.as_bytes(), &format!("{}{}", param("Action"), param("Timestamp")))),
            Some("1") => {
                let mut pairs: Vec<(&String, &String)> = self.params.iter().collect();
                pairs.sort_by_key(|(key, _)| key.to_lowercase());
                Some(sha1(secret.as_bytes(), &pairs.iter().map(|(key, value)| format!("{key}{value}")).collect::<String>()))
            }
            Some("2") => {
                let text = format!("{}\n{host}\n{}\n{}", self.verb, self.path, self.query());
                match param("SignatureMethod") {
                    "HmacSHA1" => Some(sha1(secret.as_bytes(), &text)),
                    _ => Some(BASE64_STANDARD.encode(sha256(secret.as_bytes(), &text))),
                }
            }
            _ => self.four(secret),
        }
    }

    /// Version 4: a digest of the whole request, signed with a key of the day.
    fn four(&self, secret: &str) -> Option<String> {
        let signed_headers = self.authorization("SignedHeaders")?;
        let credential = self.authorization("Credential")?;
        let (_, scope) = credential.split_once('/')?;
        let date = self.date()?;
        if !date.starts_with(scope.split('/').next()?) {
            return None;
        }
        let lower: BTreeMap<String, &str> = self.headers.iter().map(|(key, value)| (key.trim().to_lowercase(), value.trim())).collect();
        let mut names: Vec<&str> = signed_headers.split(';').collect();
        names.sort_unstable();
        let headers: String = names.iter().filter_map(|name| Some(format!("{name}:{}\n", lower.get(*name)?))).collect();
        let verb = self.verb.to_uppercase();
        let query = if verb == "POST" { String::new() } else { self.query() };
        let request = format!("{verb}\n{}\n{query}\n{headers}\n{signed_headers}\n{}", self.path, self.body_hash);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(request.as_bytes())));
        Some(hex(&sha256(&key_of_scope(secret, scope)?, &text)))
    }

    fn s3(&self, secret: &str) -> Option<String> {
        let text = String::from_utf8(BASE64_STANDARD.decode(self.token.as_deref()?.replace('-', "+").replace('_', "/")).ok()?).ok()?;
        let mut lines = text.split('\n');
        if lines.next() != Some("AWS4-HMAC-SHA256") {
            return Some(sha1(secret.as_bytes(), &text));
        }
        let scope = lines.nth(1)?;
        Some(hex(&sha256(&key_of_scope(secret, scope)?, &text)))
    }

    /// A part of the Authorization header, or the query parameter that stands for it.
    fn authorization(&self, name: &str) -> Option<String> {
        let header = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case("authorization")).map(|(_, value)| value);
        match header {
            Some(value) => value.split_once(&format!("{name}="))?.1.split(',').next().map(str::to_owned),
            None => self.params.get(&format!("X-Amz-{name}")).cloned(),
        }
    }

    fn query(&self) -> String {
        let pairs = self.params.iter().map(|(key, value)| format!("{}={}", quoted(key), quoted(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// `20260131/region/service/aws4_request`
fn key_of_scope(secret: &str, scope: &str) -> Option<Vec<u8>> {
    let parts: Vec<&str> = scope.split('/').collect();
    let [date, region, service, "aws4_request"] = parts.as_slice() else { return None };
    let key = [date, region, service].iter().fold(format!("AWS4{secret}").into_bytes(), |key, part| sha256(&key, part));
    Some(sha256(&key, "aws4_request"))
}

/// HMAC-SHA1 in base64.
pub fn sha1(key: &[u8], text: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return String::new() };
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

fn sha256(key: &[u8], text: &str) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Percent-encoded as RFC 3986 has it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Compares without telling by its time where the first difference is.
pub fn same(a: &str, b: &str) -> bool {
    !a.is_empty() && a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// The examples of keystoneclient's own tests of its signer.
    #[test]
    fn signatures_are_those_of_the_clients() {
        let secret = "89cdf9e94e2643cab35b8b8ac5a51f83";
        let zero = Signed {
            signature: "SmXQEZAUdQw5glv5mX8mmixBtas=".into(),
            params: pairs(&[("SignatureVersion", "0"), ("AWSAccessKeyId", "x"), ("Timestamp", "2012-11-27T11:47:02Z"), ("Action", "Foo")]),
            ..Signed::default()
        };
        assert!(zero.is_ec2_by(secret) && !zero.is_ec2_by("another"));
        let one = Signed {
            signature: "VRnoQH/EhVTTLhwRLfuL7jmFW9c=".into(),
            params: pairs(&[("SignatureVersion", "1"), ("AWSAccessKeyId", "x")]),
            ..Signed::default()
        };
        assert!(!one.is_ec2_by("another"));
        let params = &[
            ("Action", "DescribeInstances"),
            ("Version", "2011-05-15"),
            ("AWSAccessKeyId", "AKIAIOSFODNN7EXAMPLE"),
            ("SignatureVersion", "2"),
            ("SignatureMethod", "HmacSHA256"),
            ("Timestamp", "2011-10-03T15:19:30"),
        ];
        let mut two = Signed { verb: "GET".into(), host: "elasticmapreduce.amazonaws.com".into(), path: "/".into(), ..Signed::default() };
        two.params = pairs(params);
        two.signature = two.ec2(secret, &two.host).unwrap();
        two.host.push_str(":8773");
        assert!(two.is_ec2_by(secret) && !two.is_ec2_by("another"));
    }

    /// Amazon's published example of version 4 (GET ListUsers of IAM).
    #[test]
    fn version_4_is_amazons() {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
                             SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        let signed = Signed {
            signature: "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7".into(),
            verb: "GET".into(),
            host: "iam.amazonaws.com".into(),
            path: "/".into(),
            params: pairs(&[("Action", "ListUsers"), ("Version", "2010-05-08")]),
            headers: pairs(&[
                ("Authorization", authorization),
                ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("Host", "iam.amazonaws.com"),
                ("X-Amz-Date", "20150830T123600Z"),
            ]),
            body_hash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
            ..Signed::default()
        };
        assert!(signed.is_ec2_by("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"));
    }
}
