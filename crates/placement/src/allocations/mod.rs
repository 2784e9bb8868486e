//! `/allocations`: what each consumer draws from which provider.

mod api;
pub mod claim;
mod wire;

pub use api::{delete, manage, of_provider, show, update};
pub use wire::{ManagedConsumer, is_consumer_type, read_consumers};
