//! The versions spoken, and those at which something changes its meaning. Fields that come or go say so themselves.

use kit::microversion::{Microversion, Versions};

/// Up to the last version before reimaging (3.68), for everything this cinder has; resources it does not have are 404 at any version.
pub const VERSIONS: Versions = Versions { service: "volume", min: Microversion(3, 0), max: Microversion(3, 67), legacy_header: None };

/// `force` on deleting a volume.
pub const FORCE_DELETE: Microversion = Microversion(3, 23);
/// `name~=part` matches names that contain the part.
pub const LIKE_FILTER: Microversion = Microversion(3, 34);
/// The summary tells the metadata in use.
pub const SUMMARY_METADATA: Microversion = Microversion(3, 36);
/// Volumes in use can be extended.
pub const EXTEND_IN_USE: Microversion = Microversion(3, 42);
/// Lists can count.
pub const WITH_COUNT: Microversion = Microversion(3, 45);
/// Unknown keys in bodies are refused.
pub const STRICT_SCHEMAS: Microversion = Microversion(3, 53);
/// An attachment can ask for `ro` or `rw`.
pub const ATTACHMENT_MODE: Microversion = Microversion(3, 54);
/// `created_at` and `updated_at` filter with `gt:`, `lt:` and so on.
pub const TIME_FILTERS: Microversion = Microversion(3, 60);
/// Snapshots of volumes in use need no `force`; and it may no longer be false.
pub const SNAPSHOT_IN_USE: Microversion = Microversion(3, 66);
