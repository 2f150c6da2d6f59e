//! Who acts, in which team, and what it belongs to.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Who makes a change. Recorded with every event.
///
/// Only a [`Actor::User`] needs a membership. [`Actor::System`] and [`Actor::Job`] are made by the
/// service's own code (the command line, background work) and can't be made from a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Actor {
    /// A person.
    User {
        /// The row in `users`.
        id: Uuid,
        /// The name that sentences use, as it was at that moment.
        name: String,
    },
    /// A program with a team's API key.
    ApiKey {
        /// The row in `api_keys`.
        id: Uuid,
        /// The key's name.
        name: String,
    },
    /// A background job.
    Job {
        /// The job session's id.
        id: Uuid,
        /// The job's name.
        name: String,
    },
    /// The service itself: the command line, the relay, a migration.
    System {
        /// What part of it: `daybook dev`, `retention`.
        name: String,
    },
}

impl Actor {
    /// `user`, `api_key`, `job` or `system`, as in the column `actor_kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "user",
            Self::ApiKey { .. } => "api_key",
            Self::Job { .. } => "job",
            Self::System { .. } => "system",
        }
    }

    /// The actor's row, where it has one.
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Self::User { id, .. } | Self::ApiKey { id, .. } | Self::Job { id, .. } => Some(*id),
            Self::System { .. } => None,
        }
    }

    /// The person behind it, if it is one: who is not notified of their own change.
    pub fn user_id(&self) -> Option<Uuid> {
        match self {
            Self::User { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// How sentences call it.
    pub fn name(&self) -> &str {
        match self {
            Self::User { name, .. } | Self::ApiKey { name, .. } | Self::Job { name, .. } | Self::System { name } => {
                name
            }
        }
    }
}

/// A person named beside the actor: the one who is impersonated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The row in `users`.
    pub id: Uuid,
    /// The name that sentences use.
    pub name: String,
}

/// What a transaction belongs to: every event it records carries this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The team; nothing outside it can be read or written.
    pub team_id: Uuid,
    /// Who acts.
    pub actor: Actor,
    /// The person in whose name the actor acts (impersonation names both).
    pub on_behalf_of: Option<Person>,
    /// The way in: `http`, `cli`, a job's name.
    pub via: Option<String>,
    /// Why, in a person's words.
    pub reason: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// What ties events, job sessions, runs and wide events into one story: the trace id of
    /// `traceparent`, or a new one.
    pub correlation_id: Uuid,
    /// The event that caused this, if one did.
    pub causation_id: Option<Uuid>,
}

impl Context {
    /// The person whose rights and wishes count: the one in whose name it is done, else the actor, if that is a
    /// person. They follow, watch and read; they aren't notified of what is done here.
    pub fn person_id(&self) -> Option<Uuid> {
        self.on_behalf_of
            .as_ref()
            .map(|person| person.id)
            .or_else(|| self.actor.user_id())
    }

    /// The context of the service's own work in a team: `name` says which part of it acts.
    pub fn system(team_id: Uuid, name: impl Into<String>) -> Self {
        Self {
            team_id,
            actor: Actor::System { name: name.into() },
            on_behalf_of: None,
            via: None,
            reason: None,
            request_id: None,
            correlation_id: Uuid::new_v4(),
            causation_id: None,
        }
    }
}

/// What a member or a key may do. Ordered: each may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and writes.
    Member,
    /// Also members and API keys.
    Admin,
    /// Also owners.
    Owner,
}

impl Role {
    /// `viewer`, `member`, `admin` or `owner`, as in the column `role`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        match s {
            "viewer" => Ok(Self::Viewer),
            "member" => Ok(Self::Member),
            "admin" => Ok(Self::Admin),
            "owner" => Ok(Self::Owner),
            other => Err(Error::invalid(
                "role",
                format!("{other:?} is none of viewer, member, admin, owner"),
            )),
        }
    }
}
