//! Reads and writes the rows of sessions and actions.

mod actions;
mod feed;
mod rows;
mod story;

pub use feed::{SessionFeedPage, feed};
pub use story::{StorySession, of_story};

use self::rows::{ActionRow, SessionRow, action_row, session_row};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::types::Json;
use uuid::Uuid;

use crate::error::Result;
use crate::jobs::notifier::JOB_SESSIONS;
use crate::jobs::outcome::Status;
use crate::jobs::spec::SessionSpec;
use crate::tenancy::internal::DatabaseInternals as _;
use crate::tenancy::{Context, Database, TeamTx};

/// Filters of sessions.
#[derive(Debug, Default)]
pub(super) struct SessionFilter {
    pub(super) status: Option<Status>,
    pub(super) job_name: Option<String>,
    pub(super) job_id: Option<Uuid>,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) correlation_id: Option<Uuid>,
}

/// Writes the row of a session that begins: one statement, one round trip.
pub(super) async fn begin(database: &Database, id: Uuid, spec: &SessionSpec, input: &Value) -> Result<()> {
    let context = &spec.context;
    let sentence = spec.rendered_sentence();
    let query = sqlx::query(
        "INSERT INTO job_sessions (team_id, id, job_name, job_id, queue_job_id, attempt, max_attempts, status,
            sentence, parts, input, context, correlation_id, causation_id, queued_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, 'running', $8, $9, $10, $11, $12, $13, $14
         FROM (SELECT set_config('daybook.team_id', $1::uuid::text, true)) AS entered",
    )
    .bind(context.team_id)
    .bind(id)
    .bind(&spec.name)
    .bind(spec.job_id.unwrap_or(id))
    .bind(spec.queue_job_id)
    .bind(spec.attempt)
    .bind(spec.max_attempts)
    .bind(sentence.text)
    .bind(sentence.parts.map(Json))
    .bind(input)
    .bind(serde_json::to_value(context)?)
    .bind(context.correlation_id)
    .bind(context.causation_id)
    .bind(spec.queued_at);
    database.insert_single(context.team_id, query).await?;
    database.signal(context.team_id, JOB_SESSIONS);
    Ok(())
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeartbeatReply {
    /// The session may continue.
    Continue,
    /// The cancellation was requested.
    Cancel,
    /// The session has ended in some way.
    Ended,
}

/// Writes a session's heartbeat.
pub(super) async fn heartbeat(database: &Database, context: &Context, id: Uuid) -> Result<HeartbeatReply> {
    let query = sqlx::query(
        "UPDATE job_sessions SET heartbeat_at = clock_timestamp() WHERE team_id = $1 AND id = $2 AND status = 'running'
         RETURNING cancel_requested_at IS NOT NULL AS cancel",
    );
    let row = update_session(database, context, query.bind(context.team_id).bind(id)).await?;
    Ok(match row {
        None => HeartbeatReply::Ended,
        Some(row) if row.try_get("cancel")? => HeartbeatReply::Cancel,
        Some(_) => HeartbeatReply::Continue,
    })
}

/// Writes a session's outcome if it is still running. Returns false if it has ended: a session that was marked as lost
/// keeps that outcome.
pub(super) async fn end(
    database: &Database,
    context: &Context,
    id: Uuid,
    status: Status,
    error: Option<Value>,
) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE job_sessions SET status = $3, error = $4, finished_at = clock_timestamp(),
            transaction_id = pg_current_xact_id()::text::bigint
         WHERE team_id = $1 AND id = $2 AND status = 'running' RETURNING id",
    )
    .bind(context.team_id)
    .bind(id)
    .bind(status.as_str())
    .bind(error);
    let row = update_session(database, context, query).await?;
    database.signal(context.team_id, JOB_SESSIONS);
    Ok(row.is_some())
}

/// Updates a session's row. A worker's role may do that for any team, in a single statement with one round trip.
/// Otherwise it takes a transaction in the team.
async fn update_session(
    database: &Database,
    context: &Context,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<Option<PgRow>> {
    if let Some(workers) = database.workers() {
        return Ok(workers.fetch_all(query).await?.into_iter().next());
    }
    let tx = database.begin(context).await?;
    let row = tx.fetch_optional(query).await?;
    tx.commit().await?;
    Ok(row)
}

/// Lists sessions, the newest first, with inputs and errors shortened for a list. Returns one more than `limit` if
/// there are more.
pub(super) async fn list(
    tx: &TeamTx,
    filter: &SessionFilter,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<SessionRow>> {
    let query = sqlx::query(
        "SELECT id, job_name, job_id, queue_job_id, attempt, max_attempts, status, sentence, parts, short.input,
            short.error, correlation_id, causation_id, queued_at, started_at, heartbeat_at, finished_at,
            cancel_requested_at, short.input IS DISTINCT FROM s.input OR short.error IS DISTINCT FROM s.error AS truncated
         FROM job_sessions s CROSS JOIN LATERAL (
            SELECT daybook_short_json(s.input) AS input, daybook_short_json(s.error) AS error OFFSET 0
         ) short
         WHERE team_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($3::text IS NULL OR status = $3)
            AND ($4::text IS NULL OR job_name = $4) AND ($5::timestamptz IS NULL OR started_at >= $5)
            AND ($6::uuid IS NULL OR correlation_id = $6) AND ($7::uuid IS NULL OR job_id = $7)
         ORDER BY id DESC LIMIT $8",
    )
    .bind(tx.team_id())
    .bind(after)
    .bind(filter.status.map(Status::as_str))
    .bind(filter.job_name.as_deref())
    .bind(filter.since)
    .bind(filter.correlation_id)
    .bind(filter.job_id)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1);
    tx.fetch_all(query).await?.iter().map(session_row).collect()
}

/// Returns one session.
pub(super) async fn get(tx: &TeamTx, id: Uuid) -> Result<Option<SessionRow>> {
    let query = sqlx::query(
        "SELECT id, job_name, job_id, queue_job_id, attempt, max_attempts, status, sentence, parts, input, error, correlation_id,
            causation_id, queued_at, started_at, heartbeat_at, finished_at, cancel_requested_at, false AS truncated
         FROM job_sessions WHERE team_id = $1 AND id = $2",
    );
    let row = tx.fetch_optional(query.bind(tx.team_id()).bind(id)).await?;
    row.as_ref().map(session_row).transpose()
}

/// Lists a session's actions after a number, in order. Returns one more than `limit` if there are more.
pub(super) async fn actions(tx: &TeamTx, session_id: Uuid, after: i64, limit: u64) -> Result<Vec<ActionRow>> {
    let query = sqlx::query(
        "SELECT seq, at, action_type, sentence, parts, payload FROM job_actions
         WHERE team_id = $1 AND session_id = $2 AND seq > $3 ORDER BY seq LIMIT $4",
    )
    .bind(tx.team_id())
    .bind(session_id)
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1);
    tx.fetch_all(query)
        .await?
        .iter()
        .map(|row| action_row(row, ""))
        .collect()
}
