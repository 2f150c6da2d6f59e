//! Recovers the jobs of dead workers, and ends the sessions that lost their worker.

use std::time::Duration;

use graphile_worker::{FailureReason, JobRecoveryContext, JobRecoveryResult};
use serde::Deserialize as _;
use serde_json::json;
use sqlx::Row as _;
use uuid::Uuid;

use crate::error::Result;
use crate::jobs::payload::Envelope;
use crate::tenancy::WorkerDatabase;

/// Decides what happens to a job whose worker is gone. An attempt that had begun counts, because work that kills its
/// worker must not be retried forever. A job that the worker had only fetched, or gave back when it stopped, is due at
/// once.
///
/// The queue calls this function while its sweep holds a connection of the workers' pool. So the function must not wait
/// for another connection of that pool.
pub(super) async fn recover(workers: &WorkerDatabase, recovered: &JobRecoveryContext) -> JobRecoveryResult {
    if matches!(recovered.reason, FailureReason::ShutdownAborted) {
        return JobRecoveryResult::Default;
    }
    let job = &recovered.job;
    let Ok(envelope) = Envelope::deserialize(job.payload()) else {
        return JobRecoveryResult::Default;
    };
    match lose_attempt(
        workers,
        envelope.team_id(),
        envelope.job_id(job),
        i32::from(*job.attempts()),
    )
    .await
    {
        Ok(AttemptState::NotBegun) => JobRecoveryResult::Default,
        Ok(AttemptState::Lost) => JobRecoveryResult::FailWithBackoff,
        Ok(AttemptState::Cancelled) => {
            let last = sqlx::query(
                "UPDATE graphile_worker._private_jobs SET max_attempts = attempts WHERE id = $1 RETURNING id",
            );
            if let Err(error) = workers.fetch_all_on_side_pool(last.bind(*job.id())).await {
                tracing::warn!("jobs: could not cancel the job {} of a dead worker: {error}", job.id());
            }
            JobRecoveryResult::FailWithBackoff
        }
        Err(error) => {
            tracing::warn!(
                "jobs: could not find the session of the job {} of a dead worker: {error}",
                job.id()
            );
            JobRecoveryResult::FailWithBackoff
        }
    }
}

/// The state of a dead worker's attempt.
enum AttemptState {
    /// The worker had only fetched the job.
    NotBegun,
    Lost,
    /// Its cancellation was requested before the worker died.
    Cancelled,
}

/// Marks an attempt that had begun as lost, or as cancelled if that was requested.
async fn lose_attempt(workers: &WorkerDatabase, team_id: Uuid, job_id: Uuid, attempt: i32) -> Result<AttemptState> {
    // A session that was cancelled when its process stopped has the same attempt number. It is not lost.
    let query = sqlx::query(
        "WITH begun AS (
            SELECT team_id, id, status, cancel_requested_at IS NOT NULL AS cancelled FROM job_sessions
            WHERE team_id = $1 AND job_id = $2 AND attempt = $3 AND status IN ('running', 'lost')
        ), ended AS (
            UPDATE job_sessions s SET status = CASE WHEN b.cancelled THEN 'cancelled' ELSE 'lost' END,
                error = CASE WHEN b.cancelled THEN NULL ELSE $4::jsonb END, finished_at = clock_timestamp(),
                transaction_id = pg_current_xact_id()::text::bigint
            FROM begun b WHERE s.team_id = b.team_id AND s.id = b.id AND s.status = 'running'
        )
        SELECT cancelled FROM begun",
    );
    let query = query
        .bind(team_id)
        .bind(job_id)
        .bind(attempt)
        .bind(lost("its worker died"));
    Ok(match workers.fetch_all_on_side_pool(query).await?.first() {
        None => AttemptState::NotBegun,
        Some(row) if row.try_get("cancelled")? => AttemptState::Cancelled,
        Some(_) => AttemptState::Lost,
    })
}

/// Marks sessions as lost that have sent no heartbeat for `limit`. They may be sessions of jobs or of other work, and
/// the queue may have removed their worker. Returns their number.
pub(super) async fn sweep(workers: &WorkerDatabase, limit: Duration) -> Result<usize> {
    let query = sqlx::query(
        "UPDATE job_sessions SET status = 'lost', error = $2, finished_at = clock_timestamp(),
            transaction_id = pg_current_xact_id()::text::bigint
         WHERE status = 'running' AND heartbeat_at < clock_timestamp() - $1 * interval '1 millisecond' RETURNING id",
    );
    let query = query
        .bind(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))
        .bind(lost(&format!(
            "its worker sent no heartbeat for {} s",
            limit.as_secs_f32()
        )));
    Ok(workers.fetch_all(query).await?.len())
}

fn lost(why: &str) -> serde_json::Value {
    json!({"type": "Lost", "message": why, "causes": []})
}
