//! Routes to retry and to cancel jobs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::http::{Json, Path, ServiceState, Team};
use crate::jobs::view::SessionView;
use crate::jobs::{changes, store};
use crate::tenancy::TeamTx;
use axum::http::StatusCode;

pub(super) fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(retry_job))
        .routes(routes!(retry_jobs))
        .routes(routes!(cancel_job))
}

/// Selects the jobs to retry.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RetryJobs {
    /// Only jobs with this name, or of the consumer with this name.
    job: Option<String>,
}

/// The result of a retry of several jobs.
#[derive(Debug, Serialize, ToSchema)]
struct Retried {
    /// The number of jobs that will be retried; at most 1000 for each request.
    retried: usize,
}

/// Retries a job immediately: one that waits for its next attempt, or one that was given up.
#[utoipa::path(
    post, path = "/job-sessions/{session_id}/retry", tag = "jobs",
    params(("session_id" = Uuid, Path, description = "The job's newest session")),
    responses(
        (status = 202, body = SessionView),
        (status = 403, description = "Viewers only read"),
        (status = 404, description = "No such team or session"),
        (status = 409, description = "The job is running or has succeeded, or a newer attempt exists"),
    )
)]
async fn retry_job(team: Team, Path(session_id): Path<Uuid>) -> Result<(StatusCode, Json<SessionView>)> {
    team.write(async |tx| {
        changes::retry(tx, session_id).await?;
        accepted(tx, session_id).await
    })
    .await
}

/// Retries all jobs that were given up.
#[utoipa::path(
    post, path = "/job-sessions/retry", tag = "jobs",
    request_body = RetryJobs,
    responses(
        (status = 202, body = Retried),
        (status = 403, description = "Viewers only read"),
        (status = 404, description = "No such team"),
    )
)]
async fn retry_jobs(team: Team, Json(which): Json<RetryJobs>) -> Result<(StatusCode, Json<Retried>)> {
    team.write(async |tx| {
        let retried = changes::retry_all(tx, which.job.as_deref()).await?;
        Ok((StatusCode::ACCEPTED, Json(Retried { retried })))
    })
    .await
}

/// Cancels a job: a running one ends soon, and one that waits for its next attempt is removed from the queue.
#[utoipa::path(
    post, path = "/job-sessions/{session_id}/cancel", tag = "jobs",
    params(("session_id" = Uuid, Path, description = "The job's newest session")),
    responses(
        (status = 202, body = SessionView),
        (status = 403, description = "Viewers only read"),
        (status = 404, description = "No such team or session"),
        (status = 409, description = "The job has ended, or there is a newer attempt"),
    )
)]
async fn cancel_job(team: Team, Path(session_id): Path<Uuid>) -> Result<(StatusCode, Json<SessionView>)> {
    team.write(async |tx| {
        changes::cancel(tx, session_id).await?;
        accepted(tx, session_id).await
    })
    .await
}

async fn accepted(tx: &TeamTx, session_id: Uuid) -> Result<(StatusCode, Json<SessionView>)> {
    let row = store::get(tx, session_id).await?;
    let row = row.ok_or_else(|| Error::not_found("job session"))?;
    Ok((StatusCode::ACCEPTED, Json(row.into())))
}
