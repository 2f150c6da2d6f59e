//! Reading sessions, and what can be asked of their jobs.

mod changes;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::jobs::outcome::Status;
use crate::jobs::store::{self, ActionRow, Filter, SessionRow};
use crate::error::{Error, Result};
use crate::http::{AppState, Json, Page, PageParams, Path, Problem, Query, Team};

/// The routes of job sessions, under `/v1/teams/{team_id}`.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_job_sessions))
        .routes(routes!(get_job_session))
        .routes(routes!(list_job_actions))
        .merge(changes::routes())
}

/// Which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SessionParams {
    /// Only those that stand so: `running`, `succeeded`, `failed`, `cancelled` or `lost`.
    status: Option<String>,
    /// Only of this job.
    job: Option<String>,
    /// Only those that began at this moment (RFC 3339) or later.
    since: Option<String>,
    /// Only the attempts at this job.
    job_id: Option<String>,
    /// Only of this story.
    correlation_id: Option<String>,
    #[serde(flatten)]
    #[param(ignore)]
    page: PageParams,
}

/// What the system did in the background, once.
#[derive(Debug, Serialize, ToSchema)]
struct JobSession {
    /// Its id.
    id: Uuid,
    /// Which job.
    job_name: String,
    /// The job: all its attempts have the same.
    job_id: Uuid,
    /// The queue's id of the job, if it came from the queue.
    queue_job_id: Option<i64>,
    /// Which attempt, from 1 on.
    attempt: i32,
    /// How many attempts there are before it is given up.
    max_attempts: i32,
    /// How it stands.
    status: Status,
    /// What it does, in words.
    sentence: String,
    /// What it was given.
    input: Value,
    /// What it failed with: `type`, `message`, `causes`.
    error: Option<Value>,
    /// The story it belongs to.
    correlation_id: Uuid,
    /// The event that caused it, if one did.
    causation_id: Option<Uuid>,
    /// Since when it was due in the queue.
    queued_at: Option<DateTime<Utc>>,
    /// When it began.
    started_at: DateTime<Utc>,
    /// When its worker last said that it lives.
    heartbeat_at: DateTime<Utc>,
    /// When it ended; null while it runs.
    finished_at: Option<DateTime<Utc>>,
    /// When somebody asked for its end.
    cancel_requested_at: Option<DateTime<Utc>>,
    /// How long it waited in the queue after it was due.
    queue_delay_ms: Option<i64>,
    /// How long it ran; null while it runs.
    run_time_ms: Option<i64>,
}

/// One thing that a session did.
#[derive(Debug, Serialize, ToSchema)]
struct JobAction {
    /// Its place in the session, from 1 on, without gaps.
    seq: i64,
    /// When.
    at: DateTime<Utc>,
    /// Which of the job's kinds of action.
    #[serde(rename = "type")]
    kind: String,
    /// What was done, in words.
    sentence: String,
    /// All of it.
    payload: Value,
}

impl From<SessionRow> for JobSession {
    fn from(row: SessionRow) -> Self {
        let between = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).num_milliseconds();
        Self {
            queue_delay_ms: row.queued_at.map(|queued_at| between(queued_at, row.started_at)),
            run_time_ms: row.finished_at.map(|finished_at| between(row.started_at, finished_at)),
            id: row.id,
            job_name: row.job_name,
            job_id: row.job_id,
            queue_job_id: row.queue_job_id,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            status: row.status,
            sentence: row.sentence,
            input: row.input,
            error: row.error,
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            queued_at: row.queued_at,
            started_at: row.started_at,
            heartbeat_at: row.heartbeat_at,
            finished_at: row.finished_at,
            cancel_requested_at: row.cancel_requested_at,
        }
    }
}

impl From<ActionRow> for JobAction {
    fn from(row: ActionRow) -> Self {
        Self {
            seq: row.seq,
            at: row.at,
            kind: row.action_type,
            sentence: row.sentence,
            payload: row.payload,
        }
    }
}

impl SessionParams {
    fn filter(&self) -> Result<Filter> {
        let since = self.since.as_deref().map(|text| {
            let at = DateTime::parse_from_rfc3339(text);
            at.map(|at| at.with_timezone(&Utc))
                .map_err(|_| Error::invalid("since", "must be a moment as in 2026-11-21T10:30:00Z"))
        });
        let uuid = |name: &str, text: Option<&str>| {
            text.map(|text| Uuid::try_parse(text).map_err(|_| Error::invalid(name, "must be a UUID")))
                .transpose()
        };
        Ok(Filter {
            status: self.status.as_deref().map(str::parse).transpose()?,
            job_name: self.job.clone(),
            since: since.transpose()?,
            job_id: uuid("job_id", self.job_id.as_deref())?,
            correlation_id: uuid("correlation_id", self.correlation_id.as_deref())?,
        })
    }
}

/// Job sessions, the newest first.
#[utoipa::path(
    get, path = "/job-sessions", tag = "jobs",
    params(SessionParams, PageParams),
    responses(
        (status = 200, body = Page<JobSession>),
        (status = 404, description = "No such team", body = Problem),
        (status = 422, description = "A parameter is wrong", body = Problem),
    )
)]
async fn list_job_sessions(team: Team, Query(params): Query<SessionParams>) -> Result<Json<Page<JobSession>>> {
    let (limit, after, filter) = (params.page.limit()?, params.page.after()?, params.filter()?);
    let tx = team.read().await?;
    let rows = store::list(&tx, &filter, after, limit).await?;
    tx.commit().await?;
    Ok(Json(Page::of(rows, limit, |row| row.id)?.map(JobSession::from)))
}

/// One job session.
#[utoipa::path(
    get, path = "/job-sessions/{session_id}", tag = "jobs",
    params(("session_id" = Uuid, Path, description = "The session")),
    responses(
        (status = 200, body = JobSession),
        (status = 404, description = "No such team or session", body = Problem),
    )
)]
async fn get_job_session(team: Team, Path(session_id): Path<Uuid>) -> Result<Json<JobSession>> {
    let tx = team.read().await?;
    let row = store::get(&tx, session_id).await?;
    tx.commit().await?;
    Ok(Json(row.ok_or_else(|| Error::not_found("job session"))?.into()))
}

/// A session's actions, in order.
#[utoipa::path(
    get, path = "/job-sessions/{session_id}/actions", tag = "jobs",
    params(("session_id" = Uuid, Path, description = "The session"), PageParams),
    responses(
        (status = 200, body = Page<JobAction>),
        (status = 404, description = "No such team or session", body = Problem),
        (status = 422, description = "A parameter is wrong", body = Problem),
    )
)]
async fn list_job_actions(
    team: Team,
    Path(session_id): Path<Uuid>,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<JobAction>>> {
    let (limit, after) = (page.limit()?, page.after::<i64>()?);
    let tx = team.read().await?;
    if store::get(&tx, session_id).await?.is_none() {
        return Err(Error::not_found("job session"));
    }
    let rows = store::actions(&tx, session_id, after.unwrap_or(0), limit).await?;
    tx.commit().await?;
    Ok(Json(Page::of(rows, limit, |row| row.seq)?.map(JobAction::from)))
}
