//! The API keys of a team: programs' way in.
//!
//! A key is shown whole once, when it is made; what is kept finds it and proves it ([`ApiKey`]). It has a role
//! of its own, at most admin, and holds until it expires or is revoked, which takes effect at once, even for
//! requests under way when they next enter the team. Revoked keys stay listed: events name them.
//!
//! **Somebody answers for each key**: the member whose rights it was made with (for a key that a key made, that key's
//! owner). When they leave or are removed, their keys are revoked in the same transaction; when their role becomes less,
//! their keys' roles do. Another admin keeps a key by adopting it before.
//!
//! **Invariant:** nobody comes back by a key that they made.
//!
//! [`ApiKey`]: crate::auth::ApiKey

mod owners;
mod routes;
mod store;

pub use owners::adopt_key;
pub(super) use owners::{lock_owner, lower_keys_of, revoke_keys_of};
pub use routes::routes;
pub use store::{KeyInfo, KeyRole, NewKey, list_keys, make_key, revoke_key};
