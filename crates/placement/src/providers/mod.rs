//! Resource providers: what has inventories; mostly hosts. They form trees.

mod api;
pub mod filters;
pub mod store;

pub use api::{create, delete, list, show, update};
