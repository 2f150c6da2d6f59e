//! Describes who acts, in which team, and in which story.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};
use uuid::Uuid;

use crate::error::Error;

/// Who makes a change. It is recorded with every event.
///
/// An [`Actor::User`] must be a member of the team, and the key of an [`Actor::ApiKey`] must be valid. Only the
/// service's own code (the command line, background work) creates [`Actor::System`] and [`Actor::Job`]; a request
/// can't.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Actor {
    /// A person.
    User {
        /// The id in `users`.
        id: Uuid,
        /// The name that sentences use, as it was at the time of the change.
        name: String,
    },
    /// A program with a team's API key.
    ApiKey {
        /// The id in `api_keys`.
        id: Uuid,
        /// The key's name.
        name: String,
    },
    /// A background job.
    Job {
        /// The id of the job session.
        id: Uuid,
        /// The job's name.
        name: String,
    },
    /// The service itself: the command line, the relay, a migration.
    System {
        /// The part of the service: `daybook dev`, `retention`.
        name: String,
    },
}

impl Actor {
    /// Returns `user`, `api_key`, `job` or `system`, as in the column `actor_kind`.
    pub fn kind(&self) -> &'static str {
        self.into()
    }

    /// Returns the id of the actor's row, if it has one.
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Self::User { id, .. } | Self::ApiKey { id, .. } | Self::Job { id, .. } => Some(*id),
            Self::System { .. } => None,
        }
    }

    /// Returns the user's id if the actor is a person, who is not notified of their own change.
    pub fn user_id(&self) -> Option<Uuid> {
        match self {
            Self::User { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// Returns the name that sentences use.
    pub fn name(&self) -> &str {
        match self {
            Self::User { name, .. } | Self::ApiKey { name, .. } | Self::Job { name, .. } | Self::System { name } => {
                name
            }
        }
    }
}

/// A person that is recorded with the actor: the one who is impersonated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The id in `users`.
    pub id: Uuid,
    /// The name that sentences use.
    pub name: String,
}

/// Who acts in a transaction, where and why. It is stored with each event that the transaction records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The team. Nothing outside it can be read or written.
    pub team_id: Uuid,
    /// Who acts.
    pub actor: Actor,
    /// The person on whose behalf the actor acts (impersonation records both).
    pub on_behalf_of: Option<Person>,
    /// The channel: `http`, `cli`, a job's name.
    pub via: Option<String>,
    /// The reason, in a person's words.
    pub reason: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// The id that connects events, job sessions, runs and wide events to one story: the trace id of `traceparent`, or
    /// a new one.
    pub correlation_id: Uuid,
    /// The event that caused this, if one did.
    pub causation_id: Option<Uuid>,
}

impl Context {
    /// Returns the person whose rights and preferences apply: the one on whose behalf the actor acts, else the actor if
    /// it is a person. This person follows, watches and reads, and is not notified of the changes made here.
    pub fn person_id(&self) -> Option<Uuid> {
        self.on_behalf_of
            .as_ref()
            .map(|person| person.id)
            .or_else(|| self.actor.user_id())
    }

    /// Returns the context of the service's own work in a team. `name` is the part of the service that acts.
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

/// What a member or a key may do. The roles are ordered: each includes the rights of the ones before it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = Error, parse_err_fn = unknown_role)]
pub enum Role {
    /// May read.
    Viewer,
    /// May read and write.
    Member,
    /// May also manage members and API keys.
    Admin,
    /// May also manage owners.
    Owner,
}

impl Role {
    /// Returns `viewer`, `member`, `admin` or `owner`, as in the column `role`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown_role(text: &str) -> Error {
    Error::invalid("role", format!("{text:?} is not viewer, member, admin or owner"))
}
