//! Members over HTTP, under `/v1/teams/{team_id}`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::store::{self, MemberChanged, MemberChanges, MemberRemoved};
use crate::error::Result;
use crate::http::{Core, IfMatch, Json, Page, PageParams, Path, Query, ServiceState, Team, Version};
use crate::teams::invitations::{Invitation, invite};
use crate::teams::membership::{Member, NewMember};
use crate::teams::person::NewPerson;
use crate::tenancy::{Role, TeamTx};

/// Returns the routes of this slice.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(show, update, remove))
}

/// Computes a member's version from the two things that can change.
fn version(member: &Member) -> Version {
    Version::of(&format_args!("{}:{}", member.role, member.handle))
}

/// Lists the members, ordered by handle.
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

/// A person to be invited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMember)]
struct NewMemberBody {
    /// The issuer of their tokens (`iss`). By default, the issuer that this service trusts.
    #[schema(min_length = 1, max_length = 255)]
    issuer: Option<String>,
    /// Their identity at the issuer: their tokens' `sub`.
    #[schema(min_length = 1, max_length = 255)]
    subject: String,
    /// The team's name for them, until they have set their own.
    #[schema(min_length = 1, max_length = 200)]
    display_name: String,
    /// The team's e-mail address for them, until they have their own.
    email: Option<String>,
    /// Their handle, for mentions as `@handle`.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,31}$")]
    handle: String,
    /// Their role.
    role: Role,
}

/// Invites a person into the team. Only for admins; only an owner may invite another owner. The person accepts with
/// `POST /v1/me/invitations/{team_id}/accept`, and is not a member before.
///
/// The response contains only what was sent. It doesn't reveal anything about the person, not even whether this service
/// knows them.
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

/// The changes of a member. An omitted field stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MemberChanges)]
struct MemberChangesBody {
    /// Their role.
    role: Option<Role>,
    /// Their handle, for mentions as `@handle`.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,31}$")]
    handle: Option<String>,
}

/// Changes a member's role or handle. Only for admins; only an owner may change an owner. If the role is lowered, the
/// roles of the member's API keys are lowered to it. Invitations that the member may not make with the new role are
/// withdrawn. The response lists both.
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

/// Removes a member. Only for admins; only an owner may remove an owner; any member may leave. The API keys that the
/// member is responsible for are revoked, unless another admin has adopted them before, and their pending invitations
/// are withdrawn. The response lists both.
#[utoipa::path(
    delete, path = "/members/{user_id}", operation_id = "remove_member", tag = "members",
    params(("user_id" = Uuid, Path), ("If-Match" = String, Header, description = "the versions you have seen, weak (W/) or not, or *")),
    responses(
        (status = 200, body = MemberRemoved, description = "the person is no longer a member"),
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
