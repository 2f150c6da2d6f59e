//! API keys over HTTP, under `/v1/teams/{team_id}`.

use axum::Extension;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::key::KeyInfo;
use super::owners::adopt_key;
use super::store::{self, NewKey};
use crate::error::Result;
use crate::http::{Json, NoStore, Page, PageParams, Path, Query, ServiceState, Team};
use crate::tenancy::{Role, TeamTx};

/// Returns the routes of this slice.
pub fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
        .routes(routes!(adopt))
}

/// Lists the team's API keys, newest first, including revoked and expired ones. Admins only.
#[utoipa::path(
    get, path = "/api-keys", operation_id = "list_api_keys", tag = "api-keys", params(PageParams),
    responses(
        (status = 200, body = Page<KeyInfo>),
    )
)]
async fn list(team: Team, Query(params): Query<PageParams>) -> Result<impl IntoResponse> {
    let (limit, before) = (params.limit()?, params.after::<Uuid>()?);
    let tx = team.read().await?;
    tx.require(Role::Admin)?;
    let keys = store::list_keys(&tx, before, limit + 1).await?;
    tx.commit().await?;
    Ok(Json(Page::of(keys, limit, |key| key.id)?))
}

/// A new key, which is shown in full only once.
#[derive(Debug, Serialize, ToSchema)]
struct NewApiKeyAnswer {
    #[serde(flatten)]
    info: KeyInfo,
    /// The full key, to be sent as `Authorization: Bearer …`. It is not stored and can't be shown again.
    #[schema(example = "dbk_0123456789ab_0123456789012345678901234567890123456789")]
    key: String,
}

/// Creates an API key and returns it in full, only this once. Admins only; a key never has more rights than its
/// creator.
///
/// The response is not stored for an `Idempotency-Key`. So a repeated request gets `outcome-unknown`.
#[utoipa::path(
    post, path = "/api-keys", operation_id = "create_api_key", tag = "api-keys", request_body = NewKey,
    responses(
        (status = 201, body = NewApiKeyAnswer),
        (status = 409, description = "`too-many-api-keys`"),
    )
)]
async fn create(team: Team, Json(new): Json<NewKey>) -> Result<impl IntoResponse> {
    let (info, key) = team
        .write_as(Role::Admin, async |tx: &TeamTx| store::make_key(tx, &new).await)
        .await?;
    let answer = NewApiKeyAnswer {
        info,
        key: key.reveal(),
    };
    Ok((
        StatusCode::CREATED,
        [(header::CACHE_CONTROL, "no-store")],
        Extension(NoStore),
        Json(answer),
    ))
}

/// Revokes an API key, immediately and permanently. Admins only.
#[utoipa::path(
    delete, path = "/api-keys/{id}", operation_id = "revoke_api_key", tag = "api-keys", params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "the key is revoked"),
    )
)]
async fn revoke(team: Team, Path(id): Path<Uuid>) -> Result<StatusCode> {
    team.write_as(Role::Admin, async |tx: &TeamTx| store::revoke_key(tx, id).await)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Adopts an API key: it stays valid when its previous owner leaves. Only for admins who are people; a key never has
/// more rights than its owner.
#[utoipa::path(
    post, path = "/api-keys/{id}/adopt", operation_id = "adopt_api_key", tag = "api-keys", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = KeyInfo),
        (status = 409, description = "`key-revoked` or `too-many-api-keys`"),
    )
)]
async fn adopt(team: Team, Path(id): Path<Uuid>) -> Result<impl IntoResponse> {
    let key = team
        .write_as(Role::Admin, async |tx: &TeamTx| adopt_key(tx, id).await)
        .await?;
    Ok(Json(key))
}
