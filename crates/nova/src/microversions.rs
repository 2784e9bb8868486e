//! The numbers nova speaks, and the changes of meaning that are more than a field that comes or goes (those stand on the fields).

use kit::microversion::{Microversion, Versions};

/// The range that is announced.
pub const VERSIONS: Versions =
    Versions { service: "compute", min: Microversion(2, 1), max: Microversion(2, 79), legacy_header: Some("x-openstack-nova-api-version") };

/// Keypairs have a type; creating one answers 201, deleting one 204.
pub const KEYPAIR_TYPES: Microversion = Microversion(2, 2);
/// A keypair may be made for another user.
pub const KEYPAIR_USER: Microversion = Microversion(2, 10);
/// A public flavor refuses to be given access to with 409.
pub const FLAVOR_ACCESS_CONFLICT: Microversion = Microversion(2, 7);
/// Server groups may be soft.
pub const SOFT_GROUPS: Microversion = Microversion(2, 15);
/// Actions of deleted servers can be read.
pub const ACTIONS_OF_DELETED: Microversion = Microversion(2, 21);
/// Lists filter by tags.
pub const TAGS: Microversion = Microversion(2, 26);
/// `cpu_info` is an object.
pub const CPU_INFO_OBJECT: Microversion = Microversion(2, 28);
/// Hypervisors come in pages.
pub const HYPERVISOR_PAGES: Microversion = Microversion(2, 33);
/// Keypairs come in pages.
pub const KEYPAIR_PAGES: Microversion = Microversion(2, 35);
/// Networks must be said, and may be `auto` or `none`.
pub const NETWORKS_REQUIRED: Microversion = Microversion(2, 37);
/// An unknown status in a filter is refused.
pub const STATUS_FILTER_CHECKED: Microversion = Microversion(2, 38);
/// A server embeds its flavor.
pub const FLAVOR_EMBEDDED: Microversion = Microversion(2, 47);
/// The events of an action are shown to its project.
pub const EVENTS_FOR_ALL: Microversion = Microversion(2, 51);
/// Services and hypervisors are known by uuid.
pub const UUIDS: Microversion = Microversion(2, 53);
/// Flavors have descriptions, and can be updated.
pub const FLAVOR_DESCRIPTION: Microversion = Microversion(2, 55);
/// Instance actions come in pages.
pub const ACTION_PAGES: Microversion = Microversion(2, 58);
/// A server group has one policy, with rules.
pub const GROUP_POLICY: Microversion = Microversion(2, 64);
/// Lists filter by the time of the last change.
pub const CHANGES_BEFORE: Microversion = Microversion(2, 66);
/// Lists filter and sort by lock.
pub const LOCKED_FILTER: Microversion = Microversion(2, 73);
/// Unknown query keys are refused, updates answer the whole server, swap is a number.
pub const STRICT: Microversion = Microversion(2, 75);
