//! Members over HTTP, under `/v1/teams/{team_id}`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::store::{self, Member, MemberChanged, MemberChanges, MemberRemoved, NewMember};
use crate::error::Result;
use crate::http::{Core, IfMatch, Json, Page, PageParams, Path, Query, ServiceState, Team, Version};
use crate::teams::invitations::{Invitation, invite};
use crate::teams::person::NewPerson;
use crate::tenancy::{Role, TeamTx};

/// The routes of this slice.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
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
    /// How the team calls them, as long as they have no name of their own.
    #[schema(min_length = 1, max_length = 200)]
    display_name: String,
    /// Where the team reaches them, as long as they have no address of their own.
    email: Option<String>,
    /// What `@handle` mentions them by.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,31}$")]
    handle: String,
    /// What they may do.
    role: Role,
}

/// Invites somebody into the team. Admins do; only an owner invites another owner. The person accepts it with
/// `POST /v1/me/invitations/{team_id}/accept`, and is no member before.
///
/// The answer holds what was sent, and nothing of the person: not even whether this service knows them.
#[utoipa::path(
    post, path = "/members", operation_id = "add_member", tag = "members", request_body = NewMemberBody,
    responses(
        (status = 201, body = Invitation, headers(("Location", description = "the invitation's address"))),
        (status = 409, description = "`already-member`, `already-invited` or `handle-taken`"),
    )
)]
async fn add(team: Team, State(core): State<Core>, Json(body): Json<NewMemberBody>) -> Result<impl IntoResponse> {
    let new = NewMember {
        person: NewPerson {
            issuer: body.issuer.unwrap_or_else(|| core.authenticator().issuer().to_owned()),
            subject: body.subject,
            display_name: body.display_name,
            email: body.email,
        },
        handle: body.handle,
        role: body.role,
    };
    let invitation = team
        .write_as(Role::Admin, async |tx: &TeamTx| invite(tx, &new).await)
        .await?;

    let location = format!("/v1/teams/{}/invitations/{}", team.id(), invitation.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(invitation)))
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

/// Changes a member's role or handle. Admins do; an owner is changed by owners only. With a lower role, the member's API
/// keys have no more rights than it, and invitations that they may no longer make are withdrawn: the answer lists both.
#[utoipa::path(
    patch, path = "/members/{user_id}", operation_id = "update_member", tag = "members",
    request_body = MemberChangesBody,
    params(("user_id" = Uuid, Path), ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 200, body = MemberChanged, headers(("ETag", description = "its new version"))),
        (status = 409, description = "`last-owner` or `handle-taken`"),
        (status = 412, description = "somebody else has changed it"),
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
    let changed = team.write_as(Role::Admin, write).await?;
    Ok((version(&changed.member), Json(changed)))
}

/// Removes a member. Admins do; an owner is removed by owners only; anybody may leave. The API keys that the member
/// answers for are revoked with them, unless another admin has adopted them before, and their pending invitations are
/// withdrawn: the answer lists both.
#[utoipa::path(
    delete, path = "/members/{user_id}", operation_id = "remove_member", tag = "members",
    params(("user_id" = Uuid, Path), ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 200, body = MemberRemoved, description = "they are no member any more"),
        (status = 409, description = "`last-owner`"),
        (status = 412, description = "somebody else has changed it"),
    )
)]
async fn remove(team: Team, Path(user_id): Path<Uuid>, if_match: IfMatch) -> Result<impl IntoResponse> {
    let write = async |tx: &TeamTx| {
        let locked = store::lock_member(tx, user_id).await?;
        if_match.check(&version(locked.member()))?;
        store::remove_member(tx, locked).await
    };
    let removed = team.write_as(Role::Viewer, write).await?;
    Ok(Json(removed))
}
