//! The API keys of a team: programs' way in.
//!
//! A key is shown whole once, when it is made; what is kept finds it and proves it ([`ApiKey`]). It has a role
//! of its own, at most admin, and holds until it expires or is revoked, which takes effect at once, even for
//! requests under way when they next enter the team. Revoked keys stay listed: events name them.
//!
//! [`ApiKey`]: super::ApiKey

mod routes;
mod store;

pub use routes::routes;
pub use store::{KeyInfo, KeyRole, NewKey, list_keys, make_key, revoke_key};
