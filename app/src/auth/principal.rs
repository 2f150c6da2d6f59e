//! What a credential says, before the database has been asked.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

/// How far the clocks of whoever makes tokens and of this service may differ.
pub(super) const LEEWAY: TimeDelta = TimeDelta::seconds(30);

/// Who presents themselves, before the database has said whether they belong to the team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person with a JWT.
    User(UserPrincipal),
    /// A program with a team's API key.
    ApiKey(ApiKeyPrincipal),
}

/// A person as their token names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPrincipal {
    /// `iss`: who vouches for them.
    pub issuer: String,
    /// `sub`: the person in whose name things are done.
    pub subject: String,
    /// `name`, for sentences; without control characters, at most 200 characters.
    pub name: Option<String>,
    /// `email`, unless `email_verified` says that it isn't; without control characters, at most 320 characters.
    pub email: Option<String>,
    /// `act`: the person who really acts, if it is another one.
    pub acting: Option<ActingPerson>,
    /// `exp`: when the token stops to hold; long-lived connections end then.
    pub expires_at: DateTime<Utc>,
}

impl UserPrincipal {
    /// Until when a request that begins now may last. A token that is accepted though it has just expired, because clocks
    /// differ, holds for as long as it is accepted.
    pub fn holds_until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.expires_at > now {
            self.expires_at
        } else {
            self.expires_at + LEEWAY
        }
    }
}

/// The person who acts in another one's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActingPerson {
    /// `act.iss`; the token's own issuer where it isn't given.
    pub issuer: String,
    /// `act.sub`.
    pub subject: String,
}

/// A program as its key names it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeyPrincipal {
    /// What finds the key's row. Not a secret.
    pub prefix: String,
    /// What must be in that row.
    pub secret_sha256: [u8; 32],
}

impl fmt::Debug for ApiKeyPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyPrincipal")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
