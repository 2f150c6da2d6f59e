//! Jobs whose worker died, and sessions that nobody ends.

use std::time::Duration;

use graphile_worker::{FailureReason, JobRecoveryContext, JobRecoveryResult};
use serde::Deserialize as _;
use serde_json::json;
use uuid::Uuid;

use super::attempt::{Envelope, scheduled_id};
use crate::error::Result;
use crate::tenancy::{SYSTEM_TEAM, WorkerDatabase};

/// A job that was held by a worker that is gone. Its attempt counts if it had begun: work that kills its worker must not
/// be tried for ever. What the worker had only fetched, and what it gave back when it was stopped, begins at once.
pub(super) async fn recover(workers: &WorkerDatabase, recovered: &JobRecoveryContext) -> JobRecoveryResult {
    if matches!(recovered.reason, FailureReason::ShutdownAborted) {
        return JobRecoveryResult::Default;
    }
    let job = &recovered.job;
    let Ok(envelope) = Envelope::deserialize(job.payload()) else {
        return JobRecoveryResult::Default;
    };
    let team_id = envelope.context.as_ref().map_or(SYSTEM_TEAM, |context| context.team_id);
    let job_id = envelope
        .job_id
        .unwrap_or_else(|| scheduled_id(*job.id(), *job.created_at()));
    match lose_attempt(workers, team_id, job_id, i32::from(*job.attempts())).await {
        Ok(true) => JobRecoveryResult::FailWithBackoff,
        Ok(false) => JobRecoveryResult::Default,
        Err(error) => {
            tracing::warn!("jobs: a dead worker's session could not be looked for: {error}");
            JobRecoveryResult::FailWithBackoff
        }
    }
}

/// Tells an attempt as lost, if it had begun. Says whether it had.
async fn lose_attempt(workers: &WorkerDatabase, team_id: Uuid, job_id: Uuid, attempt: i32) -> Result<bool> {
    let query = sqlx::query(
        "WITH begun AS (
            SELECT team_id, id, status FROM job_sessions WHERE team_id = $1 AND job_id = $2 AND attempt = $3
        ), lost AS (
            UPDATE job_sessions s SET status = 'lost', error = $4, finished_at = clock_timestamp(),
                transaction_id = pg_current_xact_id()::text::bigint
            FROM begun b WHERE s.team_id = b.team_id AND s.id = b.id AND s.status = 'running'
        )
        SELECT FROM begun",
    );
    let query = query
        .bind(team_id)
        .bind(job_id)
        .bind(attempt)
        .bind(lost("its worker died"));
    let rows = workers.fetch_all(query).await?;
    Ok(!rows.is_empty())
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
