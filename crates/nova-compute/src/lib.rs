//! nova-compute: the guests of one host.
//!
//! - [`hypervisor`]: the driver seam, with QEMU behind it, and a simulation for everything that needs no real guests.
//! - [`image`]: images, brought here and looked into.
//! - [`metadata`]: what guests are told of themselves, by the metadata service and on a [`config_drive`].

pub mod config_drive;
pub mod hypervisor;
pub mod image;
pub mod metadata;
