//! The machine as the agent touches it: netlink, namespaces, nftables, connection tracking, processes and files. Knows no network of a cloud.

pub mod arp;
pub mod conntrack;
pub mod files;
pub mod icmpv6;
pub mod link;
pub mod mac;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod process;
pub mod ruleset;
pub mod sysctl;
