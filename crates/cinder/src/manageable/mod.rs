//! Taking volumes over that a storage has already, and letting them go again.

pub mod api;
pub mod flows;
