//! `/v1/me`: who the caller is, and which teams they are in.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Principal;
use crate::error::{Error, Result};
use crate::http::{AppState, Json, Problem};
use crate::tenancy::{OwnTeam, OwnTeams, Role};

/// The route, which belongs to no team.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show))
}

/// The caller.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    /// Who vouches for them: the token's `iss`.
    issuer: String,
    /// Who they are to the issuer: the token's `sub`, by which an admin adds them to a team.
    subject: String,
    /// The person as they are known here; null if nobody has added them to a team yet.
    user: Option<OwnUser>,
    /// The teams they are in, by name.
    teams: Vec<OwnTeamBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OwnUser {
    id: Uuid,
    /// How sentences call them.
    display_name: String,
    /// Where to reach them.
    email: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OwnTeam)]
struct OwnTeamBody {
    id: Uuid,
    /// What people call it.
    name: String,
    /// What the caller may do there.
    role: Role,
    /// What mentions the caller there.
    handle: String,
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

/// Shows who the caller is and which teams they are in; for a token that names two people (`act`), the one in
/// whose name things are done.
#[utoipa::path(
    get, path = "/v1/me", operation_id = "show_me", tag = "me",
    responses(
        (status = 200, body = Me),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "the caller is an API key"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn show(State(state): State<AppState>, headers: HeaderMap) -> Result<impl IntoResponse> {
    let person = match state.authenticator().authenticate(&headers)? {
        Principal::User(person) => person,
        Principal::ApiKey(_) => {
            return Err(Error::Forbidden {
                detail: "an API key has no teams of its own".to_owned(),
            });
        }
    };
    let own = state.database().own_teams(&person.issuer, &person.subject).await?;
    let (user, teams) = own.map_or((None, Vec::new()), split);
    Ok(Json(Me {
        issuer: person.issuer,
        subject: person.subject,
        user,
        teams,
    }))
}

fn split(own: OwnTeams) -> (Option<OwnUser>, Vec<OwnTeamBody>) {
    let user = OwnUser {
        id: own.user_id,
        display_name: own.display_name,
        email: own.email,
    };
    (Some(user), own.teams.into_iter().map(OwnTeamBody::from).collect())
}
