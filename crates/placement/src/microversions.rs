//! The versions spoken, and a name for each that changes a meaning.

use kit::microversion::{Microversion, Versions};

pub const VERSIONS: Versions =
    Versions { service: "placement", min: Microversion(1, 0), max: Microversion(1, 39), legacy_header: None, compute_request_id: false };

/// Providers link to their aggregates.
pub const AGGREGATES: Microversion = Microversion(1, 1);
/// Providers can be listed by aggregate.
pub const MEMBER_OF: Microversion = Microversion(1, 3);
/// Providers can be listed by free capacity.
pub const RESOURCES: Microversion = Microversion(1, 4);
/// Providers link to their traits.
pub const TRAITS: Microversion = Microversion(1, 6);
/// `PUT /resource_classes/{name}` creates instead of renaming.
pub const IDEMPOTENT_CLASS: Microversion = Microversion(1, 7);
/// Allocations name a project and a user.
pub const CONSUMER_OWNER: Microversion = Microversion(1, 8);
/// Providers link to their allocations.
pub const ALLOCATIONS_LINK: Microversion = Microversion(1, 11);
/// Allocations are an object keyed by provider.
pub const ALLOCATION_OBJECT: Microversion = Microversion(1, 12);
/// Providers form trees.
pub const NESTED: Microversion = Microversion(1, 14);
/// Answers say when they were last modified.
pub const CACHE_HEADERS: Microversion = Microversion(1, 15);
/// Candidates can be limited.
pub const LIMIT: Microversion = Microversion(1, 16);
/// Candidates can be asked for traits, and show them.
pub const REQUIRED: Microversion = Microversion(1, 17);
/// Providers can be listed by traits.
pub const REQUIRED_PROVIDERS: Microversion = Microversion(1, 18);
/// Aggregates are written at a generation.
pub const AGGREGATE_GENERATION: Microversion = Microversion(1, 19);
/// `POST /resource_providers` answers with the provider.
pub const CREATED_BODY: Microversion = Microversion(1, 20);
/// Candidates can be asked for by aggregate.
pub const CANDIDATES_MEMBER_OF: Microversion = Microversion(1, 21);
/// Traits can be forbidden.
pub const FORBIDDEN_TRAITS: Microversion = Microversion(1, 22);
/// Errors carry a code.
pub const ERROR_CODE: Microversion = Microversion(1, 23);
/// `member_of` can be repeated.
pub const REPEATED_MEMBER_OF: Microversion = Microversion(1, 24);
/// Candidates can be asked for in numbered groups.
pub const GRANULAR: Microversion = Microversion(1, 25);
/// An inventory may be reserved whole.
pub const RESERVED_WHOLE: Microversion = Microversion(1, 26);
/// Summaries show all classes of a provider.
pub const ALL_CLASSES: Microversion = Microversion(1, 27);
/// Allocations are written at a generation of their consumer.
pub const CONSUMER_GENERATION: Microversion = Microversion(1, 28);
/// Candidates may combine the providers of a tree.
pub const NESTED_CANDIDATES: Microversion = Microversion(1, 29);
/// Candidates can be asked for in one tree.
pub const IN_TREE: Microversion = Microversion(1, 31);
/// Aggregates can be forbidden.
pub const FORBIDDEN_AGGREGATES: Microversion = Microversion(1, 32);
/// Groups can have names.
pub const NAMED_GROUPS: Microversion = Microversion(1, 33);
/// Candidates say which group each provider serves.
pub const MAPPINGS: Microversion = Microversion(1, 34);
/// Candidates can be asked for traits of their tree's root.
pub const ROOT_REQUIRED: Microversion = Microversion(1, 35);
/// Groups can be asked to share a subtree.
pub const SAME_SUBTREE: Microversion = Microversion(1, 36);
/// Providers can move to another parent.
pub const REPARENT: Microversion = Microversion(1, 37);
/// Consumers have a type.
pub const CONSUMER_TYPE: Microversion = Microversion(1, 38);
/// One of several traits can be required.
pub const ANY_TRAITS: Microversion = Microversion(1, 39);
