//! Images on a host: [`cache`] brings them here, [`inspect`] and [`verify`] decide whether a guest may have them.

pub mod cache;
pub mod inspect;
pub mod qemu_img;
pub mod verify;
