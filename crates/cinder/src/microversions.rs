//! The versions spoken, and those at which something changes its meaning. Fields that come or go say so themselves.

use kit::microversion::{Microversion, Versions};

pub const VERSIONS: Versions =
    Versions { service: "volume", min: Microversion(3, 0), max: Microversion(3, 71), legacy_header: None, compute_request_id: true };

/// An image made from a volume can say who sees it.
pub const UPLOAD_VISIBILITY: Microversion = Microversion(3, 1);
/// `bootable=maybe` is refused rather than true.
pub const STRICT_FLAGS: Microversion = Microversion(3, 2);
/// Lists filter by the image's metadata.
pub const GLANCE_METADATA_FILTER: Microversion = Microversion(3, 4);
/// Services name their cluster.
pub const CLUSTERS: Microversion = Microversion(3, 7);
/// Volumes filter by their group.
pub const GROUP_FILTER: Microversion = Microversion(3, 10);
/// Metadata has an entity tag, which a change may name.
pub const ETAGS: Microversion = Microversion(3, 15);
/// Snapshots filter by their metadata.
pub const SNAPSHOT_METADATA_FILTER: Microversion = Microversion(3, 22);
/// `force` on deleting a volume.
pub const FORCE_DELETE: Microversion = Microversion(3, 23);
/// Groups' statuses can be set.
pub const RESET_GROUP: Microversion = Microversion(3, 20);
/// Pools filter by name and type.
pub const POOL_FILTERS: Microversion = Microversion(3, 28);
/// `name~=part` matches names that contain the part.
pub const LIKE_FILTER: Microversion = Microversion(3, 34);
/// The summary tells the metadata in use.
pub const SUMMARY_METADATA: Microversion = Microversion(3, 36);
/// An administrator asks for the limits of any project.
pub const LIMITS_OF_PROJECT: Microversion = Microversion(3, 39);
/// Volumes in use can be extended.
pub const EXTEND_IN_USE: Microversion = Microversion(3, 42);
/// An image that nova made of a server on a volume stands for the volume's snapshot.
pub const NOVA_IMAGES: Microversion = Microversion(3, 46);
/// Lists can count.
pub const WITH_COUNT: Microversion = Microversion(3, 45);
/// Services tell how their backend is.
pub const BACKEND_STATE: Microversion = Microversion(3, 49);
/// Types filter by their extra specs.
pub const TYPE_SPEC_FILTER: Microversion = Microversion(3, 52);
/// Unknown keys in bodies are refused.
pub const STRICT_SCHEMAS: Microversion = Microversion(3, 53);
/// An attachment can ask for `ro` or `rw`.
pub const ATTACHMENT_MODE: Microversion = Microversion(3, 54);
/// Administrators see whose a group is.
pub const GROUP_PROJECT: Microversion = Microversion(3, 58);
/// `created_at` and `updated_at` filter with `gt:`, `lt:` and so on.
pub const TIME_FILTERS: Microversion = Microversion(3, 60);
/// Volumes and snapshots filter by whether they count for the quota.
pub const CONSUMES_QUOTA: Microversion = Microversion(3, 65);
/// Snapshots of volumes in use need no `force`; and it may no longer be false.
pub const SNAPSHOT_IN_USE: Microversion = Microversion(3, 66);
/// Encrypted volumes can be transferred.
pub const TRANSFER_ENCRYPTED: Microversion = Microversion(3, 70);
