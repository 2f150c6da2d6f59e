//! The routes that end a run.

use axum::extract::{OriginalUri, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::redirect::redirect_to;
use super::run_key::key;
use crate::error::{Error, Result};
use crate::http::{Core, Json, Path, ServiceState, Team};
use crate::runs::new_run::{Failure, RunOutcome};
use crate::runs::registry::EndOutcome;
use crate::runs::registry::Runs;
use crate::runs::status::RunStatus;
use crate::runs::view::RunView;

/// The maximum number of a run's outputs, and the maximum lengths of texts in characters.
const MAX_OUTPUTS: usize = 1_000;
const MAX_OUTPUT_CHARS: usize = 1_000;
const MAX_REASON_CHARS: usize = 1_000;

pub(super) fn routes<S: ServiceState>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(complete_run))
        .routes(routes!(cancel_run))
}

/// The result of a run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RunCompletion)]
struct Completion {
    /// `succeeded` or `failed`.
    status: RunStatus,
    /// The exit code of the program.
    #[serde(default)]
    exit_code: Option<i32>,
    /// Why it failed.
    #[serde(default)]
    failure: Option<Failure>,
    /// The outputs of the run, as your program names them.
    #[serde(default)]
    output_paths: Vec<String>,
}

/// The cancellation of a run.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RunCancellation)]
struct Cancellation {
    /// The reason, for people.
    #[serde(default)]
    reason: Option<String>,
}

fn check_text(field: &str, text: &str, max_chars: usize) -> Result<()> {
    if text.chars().count() > max_chars || text.contains('\0') {
        return Err(Error::invalid(
            field,
            format!("must have at most {max_chars} characters, and no U+0000"),
        ));
    }
    Ok(())
}

/// Ends a run: its log accepts no more lines, its summary is computed, and its thread gets an event. The same request
/// may be repeated.
#[utoipa::path(
    post, path = "/runs/{run_id}/complete", tag = "runs", params(("run_id" = Uuid, Path, description = "The run")),
    request_body = Completion,
    responses(
        (status = 200, body = RunView),
        (status = 307, description = "Another process has the run's log; `Location` is its URL"),
        (status = 404, description = "No such team or run"),
        (status = 409, description = "The run has ended with another status, or has not started"),
        (status = 422, description = "The invalid fields"),
        (status = 503, description = "The log can't be written now: try again"),
    )
)]
async fn complete_run(
    State(core): State<Core>,
    team: Team,
    Path(run_id): Path<Uuid>,
    OriginalUri(uri): OriginalUri,
    Json(body): Json<Completion>,
) -> Result<Response> {
    if !matches!(body.status, RunStatus::Succeeded | RunStatus::Failed) {
        return Err(Error::invalid(
            "status",
            "must be succeeded or failed; to cancel the run, use POST …/cancel",
        ));
    }
    if body.status == RunStatus::Succeeded && body.failure.is_some() {
        return Err(Error::invalid("failure", "must be absent if the run has succeeded"));
    }
    if let Some(failure) = &body.failure {
        check_text("failure.code", &failure.code, 100)?;
        check_text("failure.message", &failure.message, MAX_REASON_CHARS)?;
        check_text("failure.stage", failure.stage.as_deref().unwrap_or_default(), 100)?;
    }
    if body.output_paths.len() > MAX_OUTPUTS {
        return Err(Error::invalid(
            "output_paths",
            format!("must have at most {MAX_OUTPUTS} entries"),
        ));
    }
    for (at, path) in body.output_paths.iter().enumerate() {
        check_text(&format!("output_paths[{at}]"), path, MAX_OUTPUT_CHARS)?;
    }
    let ending = RunOutcome {
        status: body.status,
        exit_code: body.exit_code,
        failure: body.failure,
        output_paths: body.output_paths,
        reason: None,
    };
    end(&core, &team, run_id, &uri, ending).await
}

/// Cancels a run: its log accepts no more lines. Its writer gets an error for its next line.
#[utoipa::path(
    post, path = "/runs/{run_id}/cancel", tag = "runs", params(("run_id" = Uuid, Path, description = "The run")),
    request_body = Option<Cancellation>,
    responses(
        (status = 200, body = RunView),
        (status = 307, description = "Another process has the run's log; `Location` is its URL"),
        (status = 404, description = "No such team or run"),
        (status = 409, description = "The run has ended with another status"),
        (status = 503, description = "The log can't be written now: try again"),
    )
)]
async fn cancel_run(
    State(core): State<Core>,
    team: Team,
    Path(run_id): Path<Uuid>,
    OriginalUri(uri): OriginalUri,
    body: Option<Json<Cancellation>>,
) -> Result<Response> {
    let Json(Cancellation { reason }) = body.unwrap_or(Json(Cancellation::default()));
    check_text("reason", reason.as_deref().unwrap_or_default(), MAX_REASON_CHARS)?;
    end(&core, &team, run_id, &uri, RunOutcome::cancelled(reason)).await
}

async fn end(core: &Core, team: &Team, run_id: Uuid, uri: &Uri, ending: RunOutcome) -> Result<Response> {
    let run = key(team, run_id);
    // The caller's permission and the run's team are checked before the log is changed.
    let tx = team.begin().await?;
    crate::runs::store::get(&tx, run_id).await?;
    let context = tx.context().clone();
    tx.commit().await?;
    let (runs, database, status) = (
        Runs::of(core.database())?.clone(),
        core.database().clone(),
        ending.status,
    );
    // The run is ended in a task of its own, which completes even if the client disconnects.
    let ended = tokio::spawn(async move { runs.end(&database, &context, run, ending).await });
    match ended.await.map_err(Error::internal)?? {
        EndOutcome::Elsewhere(url) => Ok(redirect_to(&url, uri)),
        EndOutcome::Ended(run) | EndOutcome::AlreadyEnded(run) if run.status == status.as_str() => {
            Ok(Json(RunView::from(*run)).into_response())
        }
        EndOutcome::Ended(run) | EndOutcome::AlreadyEnded(run) => Err(Error::conflict(
            "run-ended",
            format!("the run has already ended with the status {}", run.status),
        )),
    }
}
