//! The caller's own invitations, under `/v1/me`.

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::store;
use crate::error::Result;
use crate::http::{Core, Json, ServiceState, Team};
use crate::teams::caller::{OwnTeamBody, caller, in_own_name, service_entry};
use crate::tenancy::{OwnInvitation, Role, TeamTx};

/// Maximum number of invitations in the list.
const MAX_SHOWN: u32 = 100;

/// Returns the routes, which don't belong to a team.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(accept))
        .routes(routes!(decline))
}

/// An invitation, as the invited person sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OwnInvitation)]
struct OwnInvitationBody {
    team_id: Uuid,
    /// The team's name.
    team_name: String,
    /// The role that the caller will have.
    role: Role,
    /// The caller's handle in the team, for mentions.
    handle: String,
    /// The name, in the team, of the member who invited the caller.
    invited_by_name: String,
    /// When they were invited.
    created_at: DateTime<Utc>,
}

impl From<OwnInvitation> for OwnInvitationBody {
    fn from(invitation: OwnInvitation) -> Self {
        Self {
            team_id: invitation.team_id,
            team_name: invitation.team_name,
            role: invitation.role,
            handle: invitation.handle,
            invited_by_name: invitation.invited_by_name,
            created_at: invitation.created_at,
        }
    }
}

/// The caller's invitations.
#[derive(Debug, Serialize, ToSchema)]
struct OwnInvitations {
    /// The oldest hundred, oldest first.
    items: Vec<OwnInvitationBody>,
}

/// Lists the caller's pending invitations.
#[utoipa::path(
    get, path = "/v1/me/invitations", operation_id = "list_own_invitations", tag = "me",
    responses(
        (status = 200, body = OwnInvitations),
    )
)]
async fn list(State(core): State<Core>, headers: HeaderMap) -> Result<impl IntoResponse> {
    let person = caller(&core, &headers)?;
    let own = core
        .database()
        .own_invitations(&person.issuer, &person.subject, MAX_SHOWN)
        .await?;
    Ok(Json(OwnInvitations {
        items: own.into_iter().map(OwnInvitationBody::from).collect(),
    }))
}

/// Accepts a team's invitation: the caller becomes a member, with the name and address of their own token, if it has
/// them.
#[utoipa::path(
    post, path = "/v1/me/invitations/{team_id}/accept", operation_id = "accept_invitation", tag = "me",
    params(("team_id" = Uuid, Path)),
    responses(
        (status = 200, body = OwnTeamBody),
        (status = 409, description = "`handle-taken`: ask an admin of the team for another invitation"),
    )
)]
async fn accept(State(core): State<Core>, mut parts: Parts) -> Result<impl IntoResponse> {
    let person = in_own_name(caller(&core, &parts.headers)?)?;
    let team_id = Team::id_in_path(&mut parts).await?;
    let entry = service_entry(team_id, &parts);
    let accept = async |tx: &TeamTx| store::accept(tx, &person).await;
    let member = core.database().write_as(&entry, Role::Viewer, accept).await?;
    let own = core.database().own_teams(&person.issuer, &person.subject).await?;
    let team = own.and_then(|own| own.teams.into_iter().find(|team| team.id == team_id));
    Ok(Json(OwnTeamBody {
        id: team_id,
        name: team.map(|team| team.name).unwrap_or_default(),
        role: member.role,
        handle: member.handle,
    }))
}

/// Declines a team's invitation.
#[utoipa::path(
    post, path = "/v1/me/invitations/{team_id}/decline", operation_id = "decline_invitation", tag = "me",
    params(("team_id" = Uuid, Path)),
    responses(
        (status = 204, description = "the invitation is declined"),
    )
)]
async fn decline(State(core): State<Core>, mut parts: Parts) -> Result<StatusCode> {
    let person = in_own_name(caller(&core, &parts.headers)?)?;
    let team_id = Team::id_in_path(&mut parts).await?;
    let entry = service_entry(team_id, &parts);
    let decline = async |tx: &TeamTx| store::decline(tx, &person).await;
    core.database().write_as(&entry, Role::Viewer, decline).await?;
    Ok(StatusCode::NO_CONTENT)
}
