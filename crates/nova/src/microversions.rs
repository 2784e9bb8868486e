//! The numbers nova speaks, and the changes of meaning that are more than a field that comes or goes (those stand on the fields).

use kit::microversion::{Microversion, Versions};

/// The range that is announced.
pub const VERSIONS: Versions = Versions {
    service: "compute",
    min: Microversion(2, 1),
    max: Microversion(2, 104),
    legacy_header: Some("x-openstack-nova-api-version"),
    compute_request_id: true,
};

/// Keypairs have a type; creating one answers 201, deleting one 204.
pub const KEYPAIR_TYPES: Microversion = Microversion(2, 2);
/// A keypair may be made for another user.
pub const KEYPAIR_USER: Microversion = Microversion(2, 10);
/// Keys are imported only; names may have `@` and `.`.
pub const KEYPAIR_IMPORT_ONLY: Microversion = Microversion(2, 92);
/// A public flavor refuses to be given access to with 409.
pub const FLAVOR_ACCESS_CONFLICT: Microversion = Microversion(2, 7);
/// Server groups may be soft.
pub const SOFT_GROUPS: Microversion = Microversion(2, 15);
/// A server tells how its host is.
pub const HOST_STATUS: Microversion = Microversion(2, 16);
/// Actions of deleted servers can be read.
pub const ACTIONS_OF_DELETED: Microversion = Microversion(2, 21);
/// Servers are found by IPv6 addresses by everybody.
pub const IP6_FILTER: Microversion = Microversion(2, 5);
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
/// Devices are attached with tags.
pub const DEVICE_TAGS: Microversion = Microversion(2, 49);
/// The events of an action are shown to its project.
pub const EVENTS_FOR_ALL: Microversion = Microversion(2, 51);
/// Services and hypervisors are known by uuid.
pub const UUIDS: Microversion = Microversion(2, 53);
/// A rebuild may change the key, and tells it.
pub const KEY_NAME_ON_REBUILD: Microversion = Microversion(2, 54);
/// Flavors have descriptions, and can be updated.
pub const FLAVOR_DESCRIPTION: Microversion = Microversion(2, 55);
/// What a flavor's extra specs mean is checked.
pub const EXTRA_SPECS_CHECKED: Microversion = Microversion(2, 86);
/// Flavors are found by name, and have no rxtx factor.
pub const FLAVOR_NAMES: Microversion = Microversion(2, 102);
/// A rebuild may change the user data, and tells it.
pub const USER_DATA_ON_REBUILD: Microversion = Microversion(2, 57);
/// Instance actions come in pages.
pub const ACTION_PAGES: Microversion = Microversion(2, 58);
/// Servers have certificates of their images.
pub const CERTIFICATES: Microversion = Microversion(2, 63);
/// A server group has one policy, with rules.
pub const GROUP_POLICY: Microversion = Microversion(2, 64);
/// New volumes have a type.
pub const VOLUME_TYPES: Microversion = Microversion(2, 67);
/// Lists filter by the time of the last change.
pub const CHANGES_BEFORE: Microversion = Microversion(2, 66);
/// Migrations tell their kind, and lead to what is under way.
pub const MIGRATION_LINKS: Microversion = Microversion(2, 23);
/// A live migration that has not begun can be aborted.
pub const ABORT_QUEUED: Microversion = Microversion(2, 65);
/// Lists of migrations refuse what they do not know.
pub const STRICT_MIGRATIONS: Microversion = Microversion(2, 59);
/// Migrations are known by uuid.
pub const MIGRATION_UUIDS: Microversion = Microversion(2, 59);
/// Migrations tell whose they are.
pub const MIGRATION_OWNERS: Microversion = Microversion(2, 80);
/// A server tells its groups.
pub const SERVER_GROUPS_SHOWN: Microversion = Microversion(2, 71);
/// Lists filter and sort by lock.
pub const LOCKED_FILTER: Microversion = Microversion(2, 73);
/// Unknown query keys are refused, updates answer the whole server, swap is a number.
pub const STRICT: Microversion = Microversion(2, 75);
/// There are consoles of the kind mks.
pub const MKS_CONSOLE: Microversion = Microversion(2, 8);
/// An evacuation needs no word about shared storage, and answers no password.
pub const EVACUATE_WITHOUT_PASSWORD: Microversion = Microversion(2, 14);
/// Volumes are attached to shelved servers too.
pub const ATTACH_SHELVED: Microversion = Microversion(2, 20);
/// Volumes may be attached to several servers.
pub const MULTIATTACH: Microversion = Microversion(2, 60);
/// Servers boot with ports that ask for resources.
pub const PORT_RESOURCES: Microversion = Microversion(2, 72);
/// Attachments show their tags.
pub const ATTACHMENT_TAGS: Microversion = Microversion(2, 70);
/// An attachment says whether its volume ends with the server.
pub const ATTACHMENT_ENDS: Microversion = Microversion(2, 79);
/// Whether a volume ends with its server can be changed.
pub const ATTACHMENT_UPDATES: Microversion = Microversion(2, 85);
/// Attachments tell their ids.
pub const ATTACHMENT_IDS: Microversion = Microversion(2, 89);
/// An attachment is accepted rather than waited for.
pub const ATTACH_ACCEPTED: Microversion = Microversion(2, 101);
/// Every console token can be looked up.
pub const CONSOLE_TOKENS_FOR_ALL: Microversion = Microversion(2, 31);
/// The image of a snapshot is told in the body.
pub const IMAGE_ID_ANSWERED: Microversion = Microversion(2, 45);
/// Diagnostics have one schema for all hypervisors.
pub const DIAGNOSTICS_SCHEMA: Microversion = Microversion(2, 48);
/// A migration may name its host.
pub const MIGRATE_HOST: Microversion = Microversion(2, 56);
/// An offloaded server may come back into a zone.
pub const UNSHELVE_ZONE: Microversion = Microversion(2, 77);
/// Everybody filters by more.
pub const MORE_FILTERS: Microversion = Microversion(2, 83);
/// Events tell what went wrong.
pub const EVENT_DETAILS: Microversion = Microversion(2, 84);
/// A volume-booted server can be rescued.
pub const RESCUE_FROM_VOLUME: Microversion = Microversion(2, 87);
/// A server's host name can be chosen, and all may see it.
pub const HOSTNAME: Microversion = Microversion(2, 90);
/// An offloaded server may come back to a host.
pub const UNSHELVE_HOST: Microversion = Microversion(2, 91);
/// A server that boots from a volume can be rebuilt with another image.
pub const REIMAGE_VOLUMES: Microversion = Microversion(2, 93);
/// A host name may have a domain.
pub const FULL_HOSTNAME: Microversion = Microversion(2, 94);
/// An evacuated server is left stopped.
pub const EVACUATE_STOPPED: Microversion = Microversion(2, 95);
/// A server tells the properties of its image.
pub const IMAGE_PROPERTIES: Microversion = Microversion(2, 98);
/// There are direct SPICE consoles.
pub const SPICE_DIRECT: Microversion = Microversion(2, 99);
