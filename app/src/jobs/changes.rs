//! Requests changes of jobs that are already in the queue: retries and cancellations.

use sqlx::Row as _;
use uuid::Uuid;

use super::consume::ConsumeEvents;
use super::job::Job as _;
use super::notifier::{JOB_SESSIONS, cancelled};
use super::outcome::Status;
use super::parts::JobsParts;
use crate::error::{Error, Result};
use crate::events::WORK;
use crate::tenancy::TeamTx;

/// Maximum number of jobs that one request retries.
pub(super) const MAX_RETRIED_JOBS: i64 = 1_000;

/// The newest attempt at a job.
struct NewestAttempt {
    id: Uuid,
    job_name: String,
    status: Status,
    attempt: i32,
    max_attempts: i32,
    cancel_requested: bool,
}

/// Locks the row of a job's newest session, and returns the attempt.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] if the job has a newer session, or if it is not a job of the queue.
async fn newest_attempt(tx: &TeamTx, session_id: Uuid) -> Result<NewestAttempt> {
    let query = sqlx::query(
        "SELECT s.id, s.job_name, s.status, s.attempt, s.max_attempts, s.queue_job_id,
            s.cancel_requested_at IS NOT NULL AS was_asked_to_end, (
            SELECT n.id FROM job_sessions n WHERE n.team_id = $1 AND n.job_id = s.job_id AND n.id > s.id
            ORDER BY n.id DESC LIMIT 1
         ) AS newer
         FROM job_sessions s WHERE s.team_id = $1 AND s.id = $2 FOR UPDATE",
    );
    let row = tx
        .fetch_optional(query.bind(tx.team_id()).bind(session_id))
        .await?
        .ok_or_else(|| Error::not_found("job session"))?;
    if let Some(newer) = row.try_get::<Option<Uuid>, _>("newer")? {
        return Err(Error::conflict(
            "newer-attempt",
            format!("there is a newer attempt at this job: {newer}"),
        ));
    }
    if row.try_get::<Option<i64>, _>("queue_job_id")?.is_none() {
        return Err(Error::conflict(
            "not-queued",
            "this session did not run a job of the queue, so it can't be retried or cancelled",
        ));
    }
    Ok(NewestAttempt {
        id: row.try_get("id")?,
        job_name: row.try_get("job_name")?,
        status: row.try_get::<&str, _>("status")?.parse()?,
        attempt: row.try_get("attempt")?,
        max_attempts: row.try_get("max_attempts")?,
        cancel_requested: row.try_get("was_asked_to_end")?,
    })
}

/// Requests an immediate attempt at a job that waits for its next attempt, was given up or was cancelled.
///
/// # Errors
/// [`Error::Conflict`] if the job is running or has succeeded; the errors of [`newest_attempt`].
pub(super) async fn retry(tx: &TeamTx, session_id: Uuid) -> Result<()> {
    let session = newest_attempt(tx, session_id).await?;
    match session.status {
        Status::Running => Err(Error::conflict(
            "job-running",
            "the job is running; wait until it ends, or cancel it",
        )),
        Status::Succeeded => Err(Error::conflict(
            "job-succeeded",
            "the job has succeeded; there is nothing to retry",
        )),
        Status::Failed | Status::Cancelled | Status::Lost => {
            request_change(tx, "retry", &[(session.id, session.job_name)]).await
        }
    }
}

/// Requests another attempt at every job that was given up, at most [`MAX_RETRIED_JOBS`]. Returns their number.
pub(super) async fn retry_all(tx: &TeamTx, job_name: Option<&str>) -> Result<usize> {
    let query = sqlx::query(
        "SELECT s.id, s.job_name FROM job_sessions s
         WHERE s.team_id = $1 AND ($2::text IS NULL OR s.job_name = $2) AND s.status IN ('failed', 'lost')
            AND s.attempt >= s.max_attempts AND s.queue_job_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM job_sessions n WHERE n.team_id = $1 AND n.job_id = s.job_id AND n.id > s.id)
            AND NOT EXISTS (SELECT FROM job_requests r WHERE r.team_id = $1 AND r.job_id = s.job_id)
         ORDER BY s.id LIMIT $3",
    );
    let rows = tx
        .fetch_all(query.bind(tx.team_id()).bind(job_name).bind(MAX_RETRIED_JOBS))
        .await?;
    let sessions = rows
        .iter()
        .map(|row| Ok((row.try_get("id")?, row.try_get("job_name")?)))
        .collect::<Result<Vec<_>>>()?;
    if !sessions.is_empty() {
        request_change(tx, "retry", &sessions).await?;
    }
    Ok(sessions.len())
}

/// Requests the cancellation of a job that is running, or that waits for its next attempt.
///
/// # Errors
/// [`Error::Conflict`] if the job has ended; the errors of [`newest_attempt`].
pub(super) async fn cancel(tx: &TeamTx, session_id: Uuid) -> Result<()> {
    let session = newest_attempt(tx, session_id).await?;
    // A job that was cancelled because its process stopped also waits for its next attempt.
    let waits = match session.status {
        Status::Failed | Status::Lost => session.attempt < session.max_attempts,
        Status::Cancelled => !session.cancel_requested,
        Status::Running | Status::Succeeded => false,
    };
    if session.status == Status::Running {
        tx.signal(cancelled(session.id));
    } else if waits {
        request_change(tx, "cancel", &[(session.id, session.job_name)]).await?;
    } else {
        return Err(Error::conflict(
            "job-over",
            format!("the job has ended: its last session has the status {}", session.status),
        ));
    }
    let query = sqlx::query(
        "UPDATE job_sessions SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
            transaction_id = pg_current_xact_id()::text::bigint
         WHERE team_id = $1 AND id = $2",
    );
    tx.execute_sql(query.bind(tx.team_id()).bind(session.id)).await?;
    tx.signal(JOB_SESSIONS);
    Ok(())
}

/// Writes a request for each session. The relay applies the requests, because this transaction's role has no access to
/// the queue.
async fn request_change(tx: &TeamTx, action: &str, sessions: &[(Uuid, String)]) -> Result<()> {
    let jobs = &JobsParts::of_tx(tx)?.jobs;
    // A name that no job has is the name of a consumer, whose sessions run the job that delivers events.
    let tasks: Vec<_> = sessions
        .iter()
        .map(|(_, name)| {
            jobs.task(name)
                .unwrap_or((ConsumeEvents::NAME, ConsumeEvents::MAX_ATTEMPTS))
        })
        .collect();
    let query = sqlx::query(
        "INSERT INTO job_requests (team_id, id, action, job_name, job_id, queue_job_id, input, context, run_at, priority,
            max_attempts)
         SELECT $1, a.id, $2, a.task, s.job_id, s.queue_job_id, s.input, s.context, clock_timestamp(), 0,
            least(a.attempts, s.max_attempts)
         FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::smallint[]) AS a (session_id, id, task, attempts)
         JOIN job_sessions s ON s.team_id = $1 AND s.id = a.session_id
         WHERE NOT EXISTS (SELECT FROM job_requests r WHERE r.team_id = $1 AND r.job_id = s.job_id AND r.action = $2
            AND r.refused IS NULL)",
    )
    .bind(tx.team_id())
    .bind(action)
    .bind(sessions.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(sessions.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(tasks.iter().map(|(task, _)| *task).collect::<Vec<_>>())
    .bind(tasks.iter().map(|(_, attempts)| *attempts).collect::<Vec<_>>());
    tx.execute_sql(query).await?;
    tx.signal(WORK);
    Ok(())
}
