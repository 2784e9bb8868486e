//! Rules that ask a user for several methods of login, and the receipt for those that were passed so far.

use std::time::Duration;

use kit::clock::Timestamp;
use kit::{Error, Result};
use serde_json::{Value, json};

use super::Proof;
use crate::Keystone;
use crate::tokens::claims::{Method, put, take};
use crate::users::Model;

/// How long the missing methods may take.
const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// The first byte of a sealed receipt, which no token has.
const FORM: u8 = 0x80;

/// What a user has proved, and what the user's rules ask for.
pub struct Receipt {
    pub user: Model,
    pub methods: Vec<Method>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    pub required: Vec<Vec<String>>,
    /// The sealed form, for the header.
    pub sealed: String,
}

impl Receipt {
    /// A receipt when the user's rules are not satisfied by these methods.
    pub fn if_needed(keystone: &Keystone, proof: &Proof) -> Option<Receipt> {
        let rules = rules(&proof.user);
        let passed = |rule: &Vec<String>| rule.iter().all(|name| proof.methods.iter().any(|method| method.name() == name));
        if rules.is_empty() || rules.iter().any(passed) {
            return None;
        }
        let issued_at = Timestamp::now();
        let expires_at = issued_at.plus(LIFETIME);
        let methods: Vec<Method> = Method::ALL.into_iter().filter(|method| proof.methods.contains(method)).collect();
        let bits = methods.iter().fold(0, |bits, method| bits | method.bit());
        let mut bytes = vec![FORM, bits];
        bytes.extend(expires_at.0.to_be_bytes());
        put(&mut bytes, &proof.user.id);
        let sealed = keystone.keys.seal(&bytes);
        Some(Receipt { user: proof.user.clone(), methods, issued_at, expires_at, required: rules, sealed })
    }

    /// The methods a receipt says this user has passed.
    pub fn open(keystone: &Keystone, sealed: &str, user_id: &str) -> Result<Vec<Method>> {
        let bytes = keystone.keys.unseal(sealed).ok_or_else(Error::unauthorized)?;
        let (expires_at, methods, user) = read(&bytes).ok_or_else(Error::unauthorized)?;
        if user != user_id || expires_at <= Timestamp::now() {
            return Err(Error::unauthorized());
        }
        Ok(methods)
    }

    /// `{"receipt": {...}, "required_auth_methods": [[...]]}`
    pub fn view(&self, domain_name: &str) -> Value {
        let names: Vec<&str> = self.methods.iter().map(|method| method.name()).collect();
        let domain = json!({"id": self.user.domain_id, "name": domain_name});
        json!({
            "receipt": {
                "methods": names,
                "user": {"id": self.user.id, "name": self.user.name, "domain": domain},
                "expires_at": self.expires_at.to_micros_z(),
                "issued_at": self.issued_at.to_micros_z(),
            },
            "required_auth_methods": self.required,
        })
    }
}

fn read(bytes: &[u8]) -> Option<(Timestamp, Vec<Method>, String)> {
    let (&[form, bits], rest) = bytes.split_first_chunk::<2>()?;
    let (time, mut rest) = rest.split_first_chunk::<8>()?;
    let user = take(&mut rest)?;
    (form == FORM).then(|| (Timestamp(i64::from_be_bytes(*time)), Method::of_bits(bits), user))
}

/// The user's rules that can be followed here; each is a set of methods. They are off when the user's option says so.
fn rules(user: &Model) -> Vec<Vec<String>> {
    if user.options.0.get("multi_factor_auth_enabled") == Some(&Value::Bool(false)) {
        return Vec::new();
    }
    let listed = user.options.0.get("multi_factor_auth_rules").and_then(Value::as_array);
    let rule = |rule: &Value| -> Option<Vec<String>> {
        let known = |name: &Value| name.as_str().filter(|name| Method::ALL.iter().any(|m| m.name() == *name)).map(str::to_owned);
        rule.as_array()?.iter().map(known).collect()
    };
    listed.into_iter().flatten().filter_map(rule).filter(|rule| !rule.is_empty()).collect()
}
