//! Members over HTTP, under `/v1/teams/{team_id}`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::store::{self, Member, MemberChanges, NewMember};
use crate::auth::person::NewPerson;
use crate::error::Result;
use crate::http::{AppState, IfMatch, Json, Page, PageParams, Path, Problem, Query, Team, Version};
use crate::tenancy::{Role, TeamTx};

/// The routes of this slice.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(show, update, remove))
}

/// A member's version: the two things that can change.
fn version(member: &Member) -> Version {
    Version::of(&format_args!("{}:{}", member.role, member.handle))
}

/// Lists the members, by handle.
#[utoipa::path(
    get, path = "/members", operation_id = "list_members", tag = "members", params(PageParams),
    responses(
        (status = 200, body = Page<Member>),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn list(team: Team, Query(params): Query<PageParams>) -> Result<impl IntoResponse> {
    let (limit, after) = (params.limit()?, params.after::<String>()?);
    let tx = team.read().await?;
    let members = store::list_members(&tx, after.as_deref(), limit + 1).await?;
    tx.commit().await?;
    Ok(Json(Page::of(members, limit, |member| member.handle.clone())?))
}

/// Shows a member.
#[utoipa::path(
    get, path = "/members/{user_id}", operation_id = "show_member", tag = "members", params(("user_id" = Uuid, Path)),
    responses(
        (status = 200, body = Member, headers(("ETag", description = "its version"))),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn show(team: Team, Path(user_id): Path<Uuid>) -> Result<impl IntoResponse> {
    let tx = team.read().await?;
    let member = store::find_member(&tx, user_id).await?;
    tx.commit().await?;
    Ok((version(&member), Json(member)))
}

/// Somebody to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMember)]
struct NewMemberBody {
    /// Who vouches for them: their tokens' `iss`. Without it, the issuer that this service believes.
    #[schema(min_length = 1, max_length = 255)]
    issuer: Option<String>,
    /// Who they are to the issuer: their tokens' `sub`.
    #[schema(min_length = 1, max_length = 255)]
    subject: String,
    /// How sentences call them. Somebody who is known already keeps their name.
    #[schema(min_length = 1, max_length = 200)]
    display_name: String,
    /// Where to reach them. Somebody who is known already keeps their address.
    email: Option<String>,
    /// What `@handle` mentions them by.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,31}$")]
    handle: String,
    /// What they may do.
    role: Role,
}

/// Adds somebody to the team. Admins do; only an owner makes another owner.
#[utoipa::path(
    post, path = "/members", operation_id = "add_member", tag = "members", request_body = NewMemberBody,
    responses(
        (status = 201, body = Member,
            headers(("Location", description = "its address"), ("ETag", description = "its version"))),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`already-member` or `handle-taken`"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn add(team: Team, State(state): State<AppState>, Json(body): Json<NewMemberBody>) -> Result<impl IntoResponse> {
    let new = NewMember {
        person: NewPerson {
            issuer: body.issuer.unwrap_or_else(|| state.authenticator().issuer().to_owned()),
            subject: body.subject,
            display_name: body.display_name,
            email: body.email,
        },
        handle: body.handle,
        role: body.role,
    };
    let member = team
        .write_as(Role::Admin, async |tx: &TeamTx| store::add_member(tx, &new).await)
        .await?;

    let location = format!("/v1/teams/{}/members/{}", team.id(), member.user_id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        version(&member),
        Json(member),
    ))
}

/// What to change: a field that is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MemberChanges)]
struct MemberChangesBody {
    /// What they may do.
    role: Option<Role>,
    /// What `@handle` mentions them by.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,31}$")]
    handle: Option<String>,
}

/// Changes a member's role or handle. Admins do; an owner is changed by owners only.
#[utoipa::path(
    patch, path = "/members/{user_id}", operation_id = "update_member", tag = "members",
    request_body = MemberChangesBody,
    params(("user_id" = Uuid, Path), ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 200, body = Member, headers(("ETag", description = "its new version"))),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`last-owner` or `handle-taken`"),
        (status = 412, body = Problem, content_type = "application/problem+json",
            description = "somebody else has changed it"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn update(
    team: Team,
    Path(user_id): Path<Uuid>,
    if_match: IfMatch,
    Json(body): Json<MemberChangesBody>,
) -> Result<impl IntoResponse> {
    let changes = MemberChanges {
        role: body.role,
        handle: body.handle,
    };
    let write = async |tx: &TeamTx| {
        let locked = store::lock_member(tx, user_id).await?;
        if_match.check(&version(locked.member()))?;
        store::change_member(tx, locked, &changes).await
    };
    let member = team.write_as(Role::Admin, write).await?;
    Ok((version(&member), Json(member)))
}

/// Removes a member. Admins do; an owner is removed by owners only; anybody may leave.
#[utoipa::path(
    delete, path = "/members/{user_id}", operation_id = "remove_member", tag = "members",
    params(("user_id" = Uuid, Path), ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 204, description = "they are no member any more"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`last-owner`"),
        (status = 412, body = Problem, content_type = "application/problem+json",
            description = "somebody else has changed it"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "a refusal"),
    )
)]
async fn remove(team: Team, Path(user_id): Path<Uuid>, if_match: IfMatch) -> Result<StatusCode> {
    let write = async |tx: &TeamTx| {
        let locked = store::lock_member(tx, user_id).await?;
        if_match.check(&version(locked.member()))?;
        store::remove_member(tx, locked).await
    };
    team.write_as(Role::Viewer, write).await?;
    Ok(StatusCode::NO_CONTENT)
}
