//! Jobs whose worker died, and sessions that nobody ends.

use std::time::Duration;

use graphile_worker::{FailureReason, JobRecoveryContext, JobRecoveryResult};
use serde::Deserialize as _;
use serde_json::json;
use sqlx::Row as _;
use uuid::Uuid;

use super::attempt::Envelope;
use crate::error::Result;
use crate::tenancy::WorkerDatabase;

/// A job that was held by a worker that is gone. Its attempt counts if it had begun: work that kills its worker must not
/// be tried for ever. What the worker had only fetched, and what it gave back when it was stopped, begins at once.
///
/// The queue calls it while its sweep holds a connection of the workers' pool, so that it must not wait for another of them.
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
        Ok(Begun::Not) => JobRecoveryResult::Default,
        Ok(Begun::Lost) => JobRecoveryResult::FailWithBackoff,
        Ok(Begun::Cancelled) => {
            // What was asked for before the worker died.
            let last = sqlx::query(
                "UPDATE graphile_worker._private_jobs SET max_attempts = attempts WHERE id = $1 RETURNING id",
            );
            if let Err(error) = workers.fetch_all_on_side_pool(last.bind(*job.id())).await {
                tracing::warn!("jobs: a dead worker's job could not be cancelled: {error}");
            }
            JobRecoveryResult::FailWithBackoff
        }
        Err(error) => {
            tracing::warn!("jobs: a dead worker's session could not be looked for: {error}");
            JobRecoveryResult::FailWithBackoff
        }
    }
}

/// What became of a dead worker's attempt.
enum Begun {
    /// It had only been fetched.
    Not,
    Lost,
    /// Somebody had asked for its end.
    Cancelled,
}

/// Tells an attempt as lost, if it had begun, or as cancelled, if that was asked for.
async fn lose_attempt(workers: &WorkerDatabase, team_id: Uuid, job_id: Uuid, attempt: i32) -> Result<Begun> {
    // One that was cancelled when its process stopped has the same number, and did not die.
    let query = sqlx::query(
        "WITH begun AS (
            SELECT team_id, id, status, cancel_requested_at IS NOT NULL AS cancelled FROM job_sessions
            WHERE team_id = $1 AND job_id = $2 AND attempt = $3 AND status IN ('running', 'lost')
        ), told AS (
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
        None => Begun::Not,
        Some(row) if row.try_get("cancelled")? => Begun::Cancelled,
        Some(_) => Begun::Lost,
    })
}

/// Tells sessions as lost whose worker has said nothing for `limit`: of whatever job, of the queue or by hand, also if
/// nothing is known of the worker any more. Returns how many.
pub(super) async fn sweep(workers: &WorkerDatabase, limit: Duration) -> Result<usize> {
    let query = sqlx::query(
        "UPDATE job_sessions SET status = 'lost', error = $2, finished_at = clock_timestamp(),
            transaction_id = pg_current_xact_id()::text::bigint
         WHERE status = 'running' AND heartbeat_at < clock_timestamp() - $1 * interval '1 millisecond' RETURNING id",
    );
    let query = query
        .bind(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))
        .bind(lost(&format!("its worker said nothing for {} s", limit.as_secs_f32())));
    Ok(workers.fetch_all(query).await?.len())
}

fn lost(why: &str) -> serde_json::Value {
    json!({"type": "Lost", "message": why, "causes": []})
}
