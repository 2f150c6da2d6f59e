//! Who presents themselves.
//!
//! A request carries `Authorization: Bearer …` with one of two things. A **JWT** names a person by its
//! issuer and subject; whoever holds the key of [`AuthConfig`] vouches for them: an identity provider, or
//! `daybook token` with the HS256 secret. An **API key** (`dbk_…`) names a program of one team; its prefix
//! finds the row and its secret's hash must be the one that is kept there.
//!
//! [`Authenticator::authenticate`] checks what can be checked without the database: the signature, the
//! dates, the issuer, the shape. What it returns, a [`Principal`], is therefore a claim about *who*, and
//! says nothing about a team. Membership and the key's hash are proved where a team is entered, in the same
//! round trip, by `tenancy`, which doesn't know this module.
//!
//! **Impersonation** is RFC 8693's `act` claim: `sub` is the person in whose name things are done and
//! `act.sub` the one who does them. Both are in the token, so only who holds the key can allow it, and both
//! are recorded with every event.
//!
//! **Invariant:** no token, secret or hash appears in an error, in `{:?}` or in a log.
//!
//! **Who is in a team** is kept by `members`, who is asked to be by `invitations`, programs' keys by `api_keys`; [`found_team`] makes a team with its
//! first owner. Both have the same faces for requests and for the command line: functions of a `TeamTx`, which
//! hold the rules.
//!
//! Deliberately absent: sessions, cookies, passwords, refresh tokens and JWKS. They are the identity
//! provider's. A token can't be taken back before it expires; removing the membership takes effect at once.
//!
//! [`AuthConfig`]: crate::config::AuthConfig

mod api_key;
mod api_keys;
mod authenticator;
mod erasure;
mod gone;
mod invitations;
mod jwt;
mod me;
mod members;
mod person;
mod principal;
mod record;
mod teams;
pub(crate) mod tickets;

pub use api_key::ApiKey;
pub use api_keys::{KeyInfo, KeyRole, NewKey, adopt_key, list_keys, make_key, revoke_key, routes as api_key_routes};
pub use authenticator::Authenticator;
pub use erasure::erase_person;
pub use gone::gone;
pub use invitations::{
    Invitation, accept, decline, invite, list_invitations, own_routes as own_invitation_routes,
    routes as invitation_routes, withdraw,
};
pub use jwt::{NewToken, mint};
pub use me::routes as me_routes;
pub use members::{
    LockedMember, Member, MemberChanged, MemberChanges, MemberRemoved, NewMember, add_member, change_member,
    find_member, list_members, lock_member, remove_member, routes as member_routes,
};
pub use person::NewPerson;
pub use principal::{ActingPerson, ApiKeyPrincipal, Principal, UserPrincipal};
pub(crate) use record::with_words_of_access;
pub use teams::{NewTeam, found_team};
