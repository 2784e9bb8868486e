//! `[identity]` of `cumulo.toml`: what keystone demands of those who log in, or which keystone of somebody else's this cloud is to use.

use serde::{Deserialize, Serialize};

/// Keystone, our own or another.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// A keystone that others run, as `https://keystone.example.com:5000`: then this cloud has none of its own.
    pub url: Option<String>,
    /// The password that nova, neutron and cinder have there, as users of domain Default with the roles admin and service in its project
    /// `service`.
    pub service_password: Option<String>,
    /// Whether a scoped token can be exchanged for one of another scope.
    pub allow_rescope_scoped_token: bool,
    /// Passwords: how long they last, how many wrong ones lock an account.
    pub security_compliance: keystone::SecurityCompliance,
}

impl Default for Identity {
    fn default() -> Identity {
        Identity {
            url: None,
            service_password: None,
            allow_rescope_scoped_token: true,
            security_compliance: keystone::SecurityCompliance::default(),
        }
    }
}

impl std::fmt::Debug for Identity {
    /// The password is nobody's to see.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("url", &self.url).field("security_compliance", &self.security_compliance).finish_non_exhaustive()
    }
}

impl Identity {
    /// What the types cannot say.
    pub fn check(&self) -> Result<(), String> {
        match (&self.url, &self.service_password) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err("identity.service_password is for a keystone of others, which identity.url names.".into()),
            (Some(url), _) if !url.starts_with("http://") && !url.starts_with("https://") => {
                Err(format!("identity.url is {url:?}; it must begin with http:// or https://."))
            }
            (Some(_), None) => Err("identity.url names a keystone of others; identity.service_password says how to log in there.".into()),
            (Some(_), Some(_)) => Ok(()),
        }
    }

    /// The address of somebody else's keystone, without the version that some write behind it.
    pub fn elsewhere(&self) -> Option<&str> {
        let url = self.url.as_deref()?.trim_end_matches('/');
        Some(url.strip_suffix("/v3").unwrap_or(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_end_in_its_version() {
        for url in ["https://k:5000", "https://k:5000/", "https://k:5000/v3", "https://k:5000/v3/"] {
            assert_eq!(Identity { url: Some(url.into()), ..Identity::default() }.elsewhere(), Some("https://k:5000"));
        }
        let behind_a_path = Identity { url: Some("https://k/identity/v3".into()), ..Identity::default() };
        assert_eq!(behind_a_path.elsewhere(), Some("https://k/identity"));
        assert_eq!(Identity::default().elsewhere(), None);
    }
}
