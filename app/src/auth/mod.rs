//! Authentication: verifies credentials and returns principals.
//!
//! A request carries `Authorization: Bearer …` with one of two credentials. A **JWT** names a person by issuer and
//! subject, and is signed with the key of [`AuthConfig`], by an identity provider or by `daybook token` with the HS256
//! secret. An **API key** (`dbk_…`) names a program of one team; its prefix finds the row, and the hash of its secret
//! must equal the hash in that row.
//!
//! [`Authenticator::authenticate`] checks everything that doesn't need the database: signature, dates, issuer and
//! format. So the [`Principal`] that it returns only states an identity, and has no relation to a team yet. `tenancy`
//! checks the membership or the key's hash when a request enters a team, in the same round trip. It doesn't depend on
//! this module.
//!
//! **Impersonation** uses the `act` claim of RFC 8693: `sub` is the person on whose behalf things are done, and
//! `act.sub` the person who does them. Both are in the token, so only the holder of the signing key can allow it, and
//! both are recorded with every event.
//!
//! **Invariant:** no token, secret or hash appears in an error, in `{:?}` or in a log.
//!
//! Deliberately absent: sessions, cookies, passwords, refresh tokens and JWKS. They belong to the identity provider. A
//! token can't be revoked before it expires; removing the membership takes effect at once.
//!
//! [`AuthConfig`]: crate::config::AuthConfig

mod access;
mod api_key;
mod authenticator;
mod jwt;
mod lost_access;
mod parts;
mod principal;
pub(crate) mod tickets;

pub(crate) use access::ACCESS;
pub use access::AccessEpochs;
pub use api_key::ApiKey;
pub use authenticator::Authenticator;
pub use jwt::{NewToken, mint};
pub use lost_access::lost_access;
pub use parts::AuthParts;
pub use principal::{ActingPerson, ApiKeyPrincipal, Principal, UserPrincipal};
