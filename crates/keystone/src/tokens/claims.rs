//! What a token claims, and its compact form inside the seal: numbers in eight bytes, ids of 32 hex digits in sixteen.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use kit::clock::Timestamp;
use rand::RngCore;

/// The first byte of the form. Its first edition knew no trusts, its second no OAuth.
const FORM: u8 = 3;
const WITHOUT_OAUTH: u8 = 2;
const WITHOUT_TRUST: u8 = 1;

/// Who logged in how, and to act on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub user_id: String,
    pub methods: Vec<Method>,
    pub scope: Scope,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// This token's audit id, then that of the first of its chain.
    pub audit_ids: Vec<String>,
    pub application_credential_id: Option<String>,
    /// The trust by which the user acts for, or as, another.
    pub trust_id: Option<String>,
    /// The access token by which a program acts as the user.
    pub access_token_id: Option<String>,
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Unscoped,
    Project(String),
    Domain(String),
    System,
}

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Password,
    Token,
    ApplicationCredential,
    Totp,
    /// A request signed in Amazon's way.
    Ec2,
    Oauth1,
}

impl Method {
    pub const ALL: [Method; 6] =
        [Method::Password, Method::Token, Method::ApplicationCredential, Method::Totp, Method::Ec2, Method::Oauth1];

    pub fn name(self) -> &'static str {
        match self {
            Method::Password => "password",
            Method::Token => "token",
            Method::ApplicationCredential => "application_credential",
            Method::Totp => "totp",
            Method::Ec2 => "ec2credential",
            Method::Oauth1 => "oauth1",
        }
    }

    pub fn bit(self) -> u8 {
        match self {
            Method::Password => 1,
            Method::Token => 2,
            Method::ApplicationCredential => 4,
            Method::Totp => 8,
            Method::Ec2 => 16,
            Method::Oauth1 => 32,
        }
    }

    /// The methods whose bits are set, in one order.
    pub fn of_bits(bits: u8) -> Vec<Method> {
        Method::ALL.into_iter().filter(|method| bits & method.bit() != 0).collect()
    }
}

impl Scope {
    /// The id of the project or domain; empty when there is none.
    pub fn target(&self) -> &str {
        match self {
            Scope::Project(id) | Scope::Domain(id) => id,
            Scope::System => "system",
            Scope::Unscoped => "",
        }
    }

    /// The word by which assignments name this kind of target.
    pub fn kind(&self) -> &'static str {
        match self {
            Scope::Unscoped => "",
            Scope::Project(_) => "project",
            Scope::Domain(_) => "domain",
            Scope::System => "system",
        }
    }
}

impl Claims {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        let scope = match self.scope {
            Scope::Unscoped => 0,
            Scope::Project(_) => 1,
            Scope::Domain(_) => 2,
            Scope::System => 3,
        };
        let methods = self.methods.iter().fold(0, |bits, method| bits | method.bit());
        out.extend([FORM, methods, scope]);
        out.extend(self.issued_at.0.to_be_bytes());
        out.extend(self.expires_at.0.to_be_bytes());
        put(&mut out, &self.user_id);
        put(&mut out, self.scope.target());
        put(&mut out, self.application_credential_id.as_deref().unwrap_or_default());
        put(&mut out, self.trust_id.as_deref().unwrap_or_default());
        put(&mut out, self.access_token_id.as_deref().unwrap_or_default());
        for id in &self.audit_ids {
            put(&mut out, id);
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<Claims> {
        let (head, mut rest) = bytes.split_at_checked(19)?;
        let (&[form, methods, scope], times) = head.split_first_chunk::<3>()?;
        let (issued_at, expires_at) = times.split_at_checked(8)?;
        if !(WITHOUT_TRUST..=FORM).contains(&form) {
            return None;
        }
        let user_id = take(&mut rest)?;
        let target = take(&mut rest)?;
        let application_credential_id = Some(take(&mut rest)?).filter(|id| !id.is_empty());
        let mut later = |since: u8| match form > since {
            true => take(&mut rest).map(|id| Some(id).filter(|id| !id.is_empty())),
            false => Some(None),
        };
        let (trust_id, access_token_id) = (later(WITHOUT_TRUST)?, later(WITHOUT_OAUTH)?);
        let mut audit_ids = Vec::new();
        while !rest.is_empty() {
            audit_ids.push(take(&mut rest)?);
        }
        let scope = match scope {
            0 => Scope::Unscoped,
            1 => Scope::Project(target),
            2 => Scope::Domain(target),
            3 => Scope::System,
            _ => return None,
        };
        Some(Claims {
            user_id,
            methods: Method::of_bits(methods),
            scope,
            issued_at: Timestamp(i64::from_be_bytes(issued_at.try_into().ok()?)),
            expires_at: Timestamp(i64::from_be_bytes(expires_at.try_into().ok()?)),
            audit_ids,
            application_credential_id,
            trust_id,
            access_token_id,
        })
    }

    /// The audit id of this very token.
    pub fn audit_id(&self) -> &str {
        self.audit_ids.first().map(String::as_str).unwrap_or_default()
    }
}

/// 16 random bytes in 22 characters.
pub fn new_audit_id() -> String {
    let mut bytes = [0u8; 16];
    rand::rng().fill_bytes(&mut bytes);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Tags before a text: packed hex, packed base64 (audit ids), or its length from here on.
const HEX: u8 = 0;
const BASE64: u8 = 1;
const PLAIN: u8 = 2;

pub fn put(out: &mut Vec<u8>, text: &str) {
    if let Some(id) = packed_hex(text) {
        out.push(HEX);
        out.extend(id);
    } else if let Some(id) = BASE64_URL_SAFE_NO_PAD.decode(text).ok().filter(|id| id.len() == 16) {
        out.push(BASE64);
        out.extend(id);
    } else {
        // ids have at most 64 characters
        let length = text.len().min(usize::from(u8::MAX - PLAIN));
        out.push(PLAIN + length as u8);
        out.extend(text.as_bytes().iter().take(length));
    }
}

pub fn take(rest: &mut &[u8]) -> Option<String> {
    let (&tag, after) = rest.split_first()?;
    let length = if tag < PLAIN { 16 } else { usize::from(tag - PLAIN) };
    let (bytes, after) = after.split_at_checked(length)?;
    *rest = after;
    match tag {
        HEX => Some(uuid::Uuid::from_slice(bytes).ok()?.simple().to_string()),
        BASE64 => Some(BASE64_URL_SAFE_NO_PAD.encode(bytes)),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// The sixteen bytes of 32 lower-case hex digits.
fn packed_hex(text: &str) -> Option<[u8; 16]> {
    let id = uuid::Uuid::try_parse(text).ok()?;
    (id.simple().to_string() == text).then(|| id.into_bytes())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn example() -> Claims {
        Claims {
            user_id: "3ec3164f750146be97f21559ee4d9c51".into(),
            methods: vec![Method::Password, Method::Token],
            scope: Scope::Project("263fd9d0b1a74a1d8a4b4d3e7d1c2b3a".into()),
            issued_at: Timestamp(1_700_000_000_123_456),
            expires_at: Timestamp(1_700_003_600_123_456),
            audit_ids: vec!["RugmwI0_R3ysmpJ3zF8k4Q".into(), "3T2dc1CGQxyJsHdDu1xkcw".into()],
            application_credential_id: None,
            trust_id: None,
            access_token_id: None,
        }
    }

    #[test]
    fn claims_survive_their_compact_form() {
        let domain = Claims { scope: Scope::Domain("default".into()), audit_ids: vec![new_audit_id()], ..example() };
        let system = Claims { scope: Scope::System, application_credential_id: Some("ABC".into()), ..example() };
        let unscoped = Claims { scope: Scope::Unscoped, methods: vec![Method::ApplicationCredential], ..example() };
        let trusted = Claims { trust_id: Some("5ec3164f750146be97f21559ee4d9c51".into()), ..example() };
        let lent = Claims { access_token_id: Some("6ec3164f750146be97f21559ee4d9c51".into()), ..example() };
        for claims in [example(), domain, system, unscoped, trusted, lent] {
            assert_eq!(Claims::decode(&claims.encode()), Some(claims.clone()));
        }
        assert!(example().encode().len() < 100);
    }

    #[test]
    fn torn_claims_are_none() {
        let bytes = example().encode();
        for length in [0, 1, 18, 19, 30, bytes.len() - 1] {
            assert_eq!(Claims::decode(bytes.get(..length).unwrap()), None, "{length}");
        }
    }
}
