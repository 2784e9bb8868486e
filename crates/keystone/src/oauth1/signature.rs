//! Requests signed as OAuth 1.0a has it (RFC 5849), by HMAC-SHA1 over the method, the address and the parameters.

use kit::call::{Call, FromCall, Query, percent_decode};
use kit::clock::Timestamp;
use kit::{Error, Result};

use crate::credentials::signature::{quoted, same, sha1};
use crate::{Keystone, consumers};

/// Seconds by which a request's time may differ from ours.
const APART: i64 = 600;

/// What a request says about who signed it. Of a request without a signature: nothing.
pub struct Signed {
    method: String,
    url: String,
    /// Those of the query and of the header, the signature itself among them.
    parameters: Vec<(String, String)>,
    /// The project a request token is wanted for.
    pub project_id: Option<String>,
}

impl FromCall<Keystone> for Signed {
    async fn from_call(call: &mut Call<Keystone>) -> Result<Signed> {
        let header = |name: &str| call.parts.headers.get(name).and_then(|value| value.to_str().ok());
        let mut parameters = Query::parse(call.parts.uri.query().unwrap_or_default()).0;
        parameters.extend(header("authorization").map(read).unwrap_or_default());
        Ok(Signed {
            method: call.parts.method.to_string(),
            url: lower(&format!("{}{}", call.ctx.base_url, call.parts.uri.path())),
            parameters,
            project_id: header("requested-project-id").map(str::to_owned),
        })
    }
}

impl Signed {
    /// A parameter that must be there.
    pub fn need(&self, name: &str) -> Result<&str> {
        let found = self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        found.ok_or_else(|| Error::bad_request(format!("Expecting to find {name} in the Authorization header.")))
    }

    /// The consumer that says it signed this.
    pub async fn consumer(&self, keystone: &Keystone) -> Result<consumers::Model> {
        let key = self.need("oauth_consumer_key")?;
        consumers::find(keystone.db.read(), key).await?.ok_or_else(Error::unauthorized)
    }

    /// 401 unless these secrets signed the request, and of late.
    pub fn check(&self, consumer_secret: &str, token_secret: &str) -> Result<()> {
        let time: i64 = self.need("oauth_timestamp")?.parse().map_err(|_| Error::unauthorized())?;
        let fresh = (Timestamp::now().secs() - time).abs() <= APART;
        let known = self.need("oauth_signature_method")? == "HMAC-SHA1";
        let wanted = sha1(format!("{}&{}", quoted(consumer_secret), quoted(token_secret)).as_bytes(), &self.base());
        if fresh && known && same(&wanted, self.need("oauth_signature")?) { Ok(()) } else { Err(Error::unauthorized()) }
    }

    /// The text that is signed.
    fn base(&self) -> String {
        let signed = self.parameters.iter().filter(|(key, _)| key != "oauth_signature" && key != "realm");
        let mut pairs: Vec<(String, String)> = signed.map(|(key, value)| (quoted(key), quoted(value))).collect();
        pairs.sort();
        let parameters: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{}&{}&{}", self.method, quoted(&self.url), quoted(&parameters.join("&")))
    }
}

/// `OAuth oauth_consumer_key="...", oauth_signature="..."`
fn read(header: &str) -> Vec<(String, String)> {
    let Some(rest) = header.strip_prefix("OAuth ") else { return Vec::new() };
    let pair = |part: &str| {
        let (key, value) = part.trim().split_once('=')?;
        // a plus is a plus here
        let decoded = |text: &str| percent_decode(&text.replace('+', "%2B"));
        Some((decoded(key), decoded(value.trim_matches('"'))))
    };
    rest.split(',').filter_map(pair).collect()
}

/// Addresses are compared with their scheme and host in lower case.
fn lower(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 5849, 1.2, with another nonce; the signature is computed by hand.
    #[test]
    fn the_text_to_sign_is_as_the_rfc_has_it() {
        let header = "OAuth realm=\"Photos\", oauth_consumer_key=\"dpf43f3p2l4k3l03\", oauth_signature_method=\"HMAC-SHA1\", \
                      oauth_timestamp=\"137131200\", oauth_nonce=\"wIjqoxSKJ\", oauth_callback=\"http%3A%2F%2Fprinter.example.com%2Fready\", \
                      oauth_signature=\"A%2FPate50xLnpLs%2Bb1%2B5XE7LQMTg%3D\"";
        let signed =
            Signed { method: "POST".into(), url: lower("https://photos.example.NET/initiate"), parameters: read(header), project_id: None };
        assert_eq!(sha1(b"kd94hf93k423kf44&", &signed.base()), "A/Pate50xLnpLs+b1+5XE7LQMTg=");
        assert_eq!(signed.need("oauth_signature").unwrap(), "A/Pate50xLnpLs+b1+5XE7LQMTg=");
        assert!(signed.need("oauth_token").is_err() && signed.check("kd94hf93k423kf44", "").is_err(), "it is old");
    }
}
