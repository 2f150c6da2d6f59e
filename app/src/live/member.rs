//! The member that opened a socket: a person or an API key in a team.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::tenancy::{Actor, Context};

/// The member that opened a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TeamMember {
    pub(super) team_id: Uuid,
    pub(super) id: MemberId,
}

/// Identifies a person or an API key in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum MemberId {
    Person(Uuid),
    ApiKey(Uuid),
}

impl TeamMember {
    /// Returns the member that a context acts for.
    ///
    /// # Errors
    /// [`Error::Internal`] for the system, which never opens a socket.
    pub(super) fn of(context: &Context) -> Result<Self> {
        let id = match (context.person_id(), &context.actor) {
            (Some(person), _) => MemberId::Person(person),
            (None, Actor::ApiKey { id, .. }) => MemberId::ApiKey(*id),
            _ => return Err(Error::internal("a live socket needs a person or an API key")),
        };
        Ok(Self {
            team_id: context.team_id,
            id,
        })
    }
}
