//! The person who calls, for routes that don't belong to a team.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::{Principal, UserPrincipal};
use crate::error::{Error, Result};
use crate::http::{Core, request};
use crate::tenancy::{Context, Credential, Entry, OwnTeam, Role};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OwnTeam)]
pub(super) struct OwnTeamBody {
    pub(super) id: Uuid,
    /// The team's name.
    pub(super) name: String,
    /// The caller's role in the team.
    pub(super) role: Role,
    /// The caller's handle in the team, for mentions.
    pub(super) handle: String,
}

impl From<OwnTeam> for OwnTeamBody {
    fn from(team: OwnTeam) -> Self {
        Self {
            id: team.id,
            name: team.name,
            role: team.role,
            handle: team.handle,
        }
    }
}

/// Returns the person to whom the request's token belongs.
///
/// # Errors
/// [`Error::Unauthenticated`]; [`Error::Forbidden`] for an API key.
pub(super) fn caller(core: &Core, headers: &HeaderMap) -> Result<UserPrincipal> {
    match core.authenticator().authenticate(headers)? {
        Principal::User(person) => Ok(person),
        Principal::ApiKey(_) => Err(Error::Forbidden {
            detail: "an API key belongs to no person; use a person's token".to_owned(),
        }),
    }
}

/// Returns the person if they act in their own name. Nobody else can make decisions about a person.
///
/// # Errors
/// [`Error::Forbidden`] for a token with `act`.
pub(super) fn in_own_name(person: UserPrincipal) -> Result<UserPrincipal> {
    if person.acting.is_some() {
        return Err(Error::Forbidden {
            detail: "only the person themselves may do this; use a token without `act`".to_owned(),
        });
    }
    Ok(person)
}

/// Returns the service's own entry into a team, for a person who has no rights there yet.
pub(super) fn service_entry(team_id: Uuid, parts: &Parts) -> Entry {
    let request = request(parts);
    let context = Context {
        via: request.via.clone(),
        request_id: request.request_id.clone(),
        correlation_id: request.correlation_id,
        ..Context::system(team_id, "invitations")
    };
    Entry::new(team_id, Credential::Context(context), request)
}
