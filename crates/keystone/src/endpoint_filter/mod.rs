//! OS-EP-FILTER: which endpoints the catalog of a project shows, chosen one by one ([`projects`]) or by groups that a filter describes
//! ([`groups`]). A project for which nothing was chosen sees all.

pub mod groups;
pub mod projects;
pub mod store;
