//! nova-compute: the guests of one host.
//!
//! - [`hypervisor`]: the driver seam, with QEMU behind it, and a simulation for everything that needs no real guests.

pub mod hypervisor;
