//! The identity that a credential states, before the database has confirmed it.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

/// Maximum difference between the clocks of a token's issuer and of this service.
pub(super) const LEEWAY: TimeDelta = TimeDelta::seconds(30);

/// The owner of a credential, before the database has confirmed that they belong to the team.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Principal {
    /// A person with a JWT.
    User(UserPrincipal),
    /// A program with a team's API key.
    ApiKey(ApiKeyPrincipal),
}

/// A person, as identified by their token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPrincipal {
    /// `iss`: the issuer.
    pub issuer: String,
    /// `sub`: the person on whose behalf things are done.
    pub subject: String,
    /// `name`: the person's name in sentences; without control characters, at most 200 characters.
    pub name: Option<String>,
    /// `email`, unless `email_verified` says that it isn't; without control characters, at most 320 characters.
    pub email: Option<String>,
    /// `act`: the person who acts on the subject's behalf, if that is another person.
    pub acting: Option<ActingPerson>,
    /// `exp`: when the token expires; long-lived connections end then.
    pub expires_at: DateTime<Utc>,
}

impl UserPrincipal {
    /// Returns the time at which a request that begins at `now` must end: the token's expiry. A token that has just
    /// expired is still accepted, because clocks differ. For such a token it is the end of that leeway.
    pub fn valid_until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.expires_at > now {
            self.expires_at
        } else {
            self.expires_at + LEEWAY
        }
    }
}

/// A person who acts on behalf of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActingPerson {
    /// `act.iss`; by default the token's own issuer.
    pub issuer: String,
    /// `act.sub`.
    pub subject: String,
}

/// A program, as identified by its key.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeyPrincipal {
    /// The part of the key that finds its row. Not a secret.
    pub prefix: String,
    /// The hash that must be in that row.
    pub secret_sha256: [u8; 32],
}

impl fmt::Debug for ApiKeyPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyPrincipal")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
