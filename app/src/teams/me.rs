//! `/v1/me`: the caller's identity, teams and name, and their erasure.

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::caller::{OwnTeamBody, caller, in_own_name, service_entry};
use super::erasure::erase_person;
use super::person::check_name;
use crate::auth::UserPrincipal;
use crate::error::Result;
use crate::http::{Core, Json, ServiceState, request};
use crate::tenancy::{Credential, Entry, OwnDetails, OwnTeams};

/// Returns the routes, which don't belong to a team.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(show, rename, erase))
}

/// The caller.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    /// The issuer of the token: its `iss`.
    issuer: String,
    /// The caller's identity at the issuer: the token's `sub`, by which an admin invites them into a team.
    subject: String,
    /// The person as this service knows them; null if they are in no team and have not set their name.
    user: Option<OwnUser>,
    /// The teams they are in, ordered by name.
    teams: Vec<OwnTeamBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OwnUser {
    id: Uuid,
    /// Their name in sentences. A team uses its own name for them until they have set one.
    display_name: String,
    /// Their e-mail address.
    email: Option<String>,
}

/// Returns the person's entry into one of their teams.
fn own_entry(team_id: Uuid, person: &UserPrincipal, parts: &Parts) -> Entry {
    let credential = Credential::Person {
        issuer: person.issuer.clone(),
        subject: person.subject.clone(),
        acting: None,
    };
    Entry::new(team_id, credential, request(parts))
}

/// Shows the caller's identity and teams. If the token names two people (`act`), this is the person on whose behalf the
/// other acts.
///
/// The name and address in the caller's own token (`name`, `email`) are stored here, and teams see them from then on. A
/// name that the person set with `PATCH /v1/me` takes precedence over the token's.
#[utoipa::path(
    get, path = "/v1/me", operation_id = "show_me", tag = "me",
    responses(
        (status = 200, body = Me),
        (status = 403, description = "the caller is an API key"),
    )
)]
async fn show(State(core): State<Core>, headers: HeaderMap) -> Result<impl IntoResponse> {
    let person = caller(&core, &headers)?;
    let own = core.database().own_teams(&person.issuer, &person.subject).await?;
    let own = match own {
        Some(own) if token_has_changes(&person, &own.details) => {
            let details = core
                .database()
                .describe_person(
                    &person.issuer,
                    &person.subject,
                    person.name.as_deref(),
                    person.email.as_deref(),
                )
                .await?;
            Some(OwnTeams { details, ..own })
        }
        own => own,
    };
    Ok(Json(me(person, own)))
}

/// Returns whether the token has a name or address that isn't stored yet.
fn token_has_changes(person: &UserPrincipal, known: &OwnDetails) -> bool {
    let name = person.name.is_some() && person.name != known.own_name && !known.named_by_self;
    let email = person.email.is_some() && person.email != known.own_email;
    person.acting.is_none() && (name || email)
}

fn me(person: UserPrincipal, own: Option<OwnTeams>) -> Me {
    let (user, teams) = own.map_or((None, Vec::new()), |own| {
        let OwnTeams { details, teams, .. } = own;
        let user = OwnUser {
            id: details.user_id,
            display_name: details.own_name.unwrap_or(details.fallback_name),
            email: details.own_email,
        };
        (Some(user), teams.into_iter().map(OwnTeamBody::from).collect())
    });
    Me {
        issuer: person.issuer,
        subject: person.subject,
        user,
        teams,
    }
}

/// The caller's changes of their own data.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MyChanges {
    /// Their name in sentences, in every team, from now on. Recorded events keep the earlier name.
    #[schema(min_length = 1, max_length = 200)]
    display_name: String,
}

/// Renames the caller, in every team. This name takes precedence over the teams' names for them and over their token's.
#[utoipa::path(
    patch, path = "/v1/me", operation_id = "rename_me", tag = "me", request_body = MyChanges,
    responses(
        (status = 200, body = Me),
    )
)]
async fn rename(
    State(core): State<Core>,
    headers: HeaderMap,
    Json(changes): Json<MyChanges>,
) -> Result<impl IntoResponse> {
    let person = in_own_name(caller(&core, &headers)?)?;
    check_name("display_name", &changes.display_name)?;
    let database = core.database();
    database
        .rename_person(
            &person.issuer,
            &person.subject,
            &changes.display_name,
            person.email.as_deref(),
        )
        .await?;
    let own = database.own_teams(&person.issuer, &person.subject).await?;
    Ok(Json(me(person, own)))
}

/// Erases the caller: their memberships in every team, the API keys they are responsible for, their invitations, and
/// their personal data. Records stay as they are: events, comments and run logs are never changed.
#[utoipa::path(
    delete, path = "/v1/me", operation_id = "erase_me", tag = "me",
    responses(
        (status = 204, description = "the person is erased"),
        (status = 409, description = "`last-owner` of a team; nothing was erased"),
    )
)]
async fn erase(State(core): State<Core>, parts: Parts) -> Result<StatusCode> {
    let person = in_own_name(caller(&core, &parts.headers)?)?;
    let database = core.database();
    let own = database.own_teams(&person.issuer, &person.subject).await?;
    // The list is not limited, because an invitation that is left behind would still name the person.
    let invitations = database
        .own_invitations(&person.issuer, &person.subject, u32::MAX)
        .await?;
    let memberships: Vec<Uuid> = own.iter().flat_map(|own| &own.teams).map(|team| team.id).collect();
    let mut teams = memberships.clone();
    teams.extend(invitations.iter().map(|invitation| invitation.team_id));
    let entry = |team_id| match memberships.contains(&team_id) {
        true => own_entry(team_id, &person, &parts),
        false => service_entry(team_id, &parts),
    };
    erase_person(database, &teams, &person.issuer, &person.subject, entry).await?;
    Ok(StatusCode::NO_CONTENT)
}
