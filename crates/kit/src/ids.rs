//! New identifiers, in the two forms OpenStack writes them.

/// `8f0c6a3e-....`: servers, images, networks, volumes.
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// 32 hex digits: projects, users, roles, domains.
pub fn hex() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// `req-<uuid>`
pub fn request() -> String {
    format!("req-{}", uuid::Uuid::new_v4())
}

/// The same name in the same space gives the same id, for what is made in several places without talking (bootstrap).
pub fn derived(space: &str, name: &str) -> String {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, format!("{space}:{name}").as_bytes()).to_string()
}

/// A UUID in either form; the canonical form of it.
pub fn parse_uuid(text: &str) -> Option<String> {
    uuid::Uuid::try_parse(text).ok().map(|u| u.to_string())
}
