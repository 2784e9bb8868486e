//! Port security, security groups and quality of service as three nft tables, computed whole from the desired state.
//!
//! A frame from a guest first meets [`identity`] in the bridge family: is it really this port's? The port's number goes into the mark.
//! br_netfilter then shows the packet to [`groups`] in the inet family, which has connection tracking (the bridge family has none on many
//! kernels) in a zone of its own for each bridge, so that tenants may use the same addresses. On the way out the mark becomes the number
//! of the destination port, and its ingress rules run. Marks are ours only between these hooks; what has no port of ours in it passes.

mod forgotten;
mod groups;
mod identity;
pub mod limits;
pub mod rules;

use std::collections::BTreeSet;
use std::net::IpAddr;

use rpc::network::Port;

use crate::desired::Desired;
use crate::host::nft::Table;
use crate::linuxbridge::numbers::Numbers;

pub use forgotten::forgotten;
pub use groups::GROUPS;
pub use identity::IDENTITY;
pub use limits::LIMITS;

/// The three tables for a desired state. `numbers` must have one for each port and network; bandwidth may be `shaped` elsewhere.
pub fn compile(desired: &Desired, numbers: &Numbers, links: &BTreeSet<String>, shaped: bool) -> [Table; 3] {
    [identity::table(desired, numbers, links), groups::table(desired, numbers), limits::table(desired, numbers, shaped)]
}

/// The addresses of a port whose connections are judged: its own, and single addresses among its pairs.
fn addresses(port: &Port) -> Vec<IpAddr> {
    let fixed = port.fixed_ips.iter().map(|ip| ip.ip_address);
    let pairs = port.allowed_address_pairs.iter().filter_map(|pair| pair.ip_address.parse().ok());
    fixed.chain(pairs).collect()
}
