//! Identity v2.0, as far as clients of its time log in with it: tokens ([`api`]), their catalog ([`view`]) and tenants. Its users and
//! tenants are those of the domain `default`.

pub mod api;
mod view;
