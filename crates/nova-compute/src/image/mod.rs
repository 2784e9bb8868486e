//! Images on a host: [`cache`] brings them here, [`inspect`] and [`verify`] decide whether a guest may have them.
//! [`empty`] is what simulated guests have for a disk.

pub mod cache;
pub mod empty;
pub mod inspect;
pub mod qemu_img;
pub mod verify;
