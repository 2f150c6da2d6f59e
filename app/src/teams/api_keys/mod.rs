//! The API keys of a team: credentials for programs.
//!
//! A key is shown in full once, when it is created. The service stores only a prefix, to find the key, and a hash, to
//! verify it ([`ApiKey`]). A key has its own role, at most admin, and is valid until it expires or is revoked.
//! Revocation takes effect immediately. A request under way is refused when it next enters the team. Revoked keys stay
//! listed, because events refer to them.
//!
//! **Each key has a responsible member**: the member with whose rights it was created (if a key created it, that key's
//! owner). When this member leaves or is removed, their keys are revoked in the same transaction; when their role is
//! lowered, their keys' roles are lowered too. Another admin can keep a key by adopting it first.
//!
//! **Invariant:** a removed member can't regain access with a key that they created.
//!
//! [`ApiKey`]: crate::auth::ApiKey

mod events;
mod key;
mod owners;
mod routes;
mod store;

pub use key::KeyInfo;
pub use owners::adopt_key;
pub(super) use owners::{lock_owner, lower_keys_of, revoke_keys_of};
pub use routes::routes;
pub use store::{KeyRole, NewKey, list_keys, make_key, revoke_key};
