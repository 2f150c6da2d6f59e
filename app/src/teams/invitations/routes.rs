//! Invitations as the team sees them, under `/v1/teams/{team_id}`. They are created with `POST …/members`.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::invitation::Invitation;
use super::store;
use crate::error::Result;
use crate::http::{Json, Page, PageParams, Path, Query, ServiceState, Team};
use crate::tenancy::{Role, TeamTx};

/// Returns the routes of this slice.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(withdraw))
}

/// Lists the pending invitations, newest first. Admins only.
#[utoipa::path(
    get, path = "/invitations", operation_id = "list_invitations", tag = "members", params(PageParams),
    responses(
        (status = 200, body = Page<Invitation>),
    )
)]
async fn list(team: Team, Query(params): Query<PageParams>) -> Result<impl IntoResponse> {
    let (limit, before) = (params.limit()?, params.after::<Uuid>()?);
    let tx = team.read().await?;
    let invitations = store::list_invitations(&tx, before, limit + 1).await?;
    tx.commit().await?;
    Ok(Json(Page::of(invitations, limit, |invitation| invitation.id)?))
}

/// Withdraws a pending invitation. Admins only.
#[utoipa::path(
    delete, path = "/invitations/{id}", operation_id = "withdraw_invitation", tag = "members",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "the invitation is withdrawn"),
    )
)]
async fn withdraw(team: Team, Path(id): Path<Uuid>) -> Result<StatusCode> {
    team.write_as(Role::Admin, async |tx: &TeamTx| store::withdraw(tx, id).await)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
