//! Who presents a credential.
//!
//! A request carries `Authorization: Bearer …` with one of two things. A **JWT** names a person by its issuer and subject;
//! the holder of the key of [`AuthConfig`] vouches for them: an identity provider, or `daybook token` with the HS256
//! secret. An **API key** (`dbk_…`) names a program of one team; its prefix finds the row, and its secret's hash must be
//! the hash in that row.
//!
//! [`Authenticator::authenticate`] checks what can be checked without the database: the signature, the dates, the issuer
//! and the shape. The [`Principal`] that it returns is therefore a claim about *who*, and does not concern a team.
//! Membership and the key's hash are proved where a team is entered, in the same round trip, by `tenancy`, which doesn't
//! know this module.
//!
//! **Impersonation** is RFC 8693's `act` claim: `sub` is the person in whose name things are done and `act.sub` the person
//! who does them. Both are in the token, so only the holder of the key can allow it, and both are recorded with every
//! event.
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
mod gone;
mod jwt;
mod parts;
mod principal;
pub(crate) mod tickets;

pub(crate) use access::ACCESS;
pub use access::AccessEpochs;
pub use api_key::ApiKey;
pub use authenticator::Authenticator;
pub use gone::gone;
pub use jwt::{NewToken, mint};
pub use parts::AuthParts;
pub use principal::{ActingPerson, ApiKeyPrincipal, Principal, UserPrincipal};
