//! Quarantines jobs of the queue whose payload can't be read.
//!
//! The queue fetches several jobs in one statement and then decodes them. If serde_json refuses one payload (too deep,
//! a number out of range), the fetch fails after all of these jobs were locked. Then none of them runs, and no other
//! worker recovers them, because their worker is alive. The queue's own recovery decodes jobs in the same way and
//! fails, too.
//!
//! Requests with such inputs are refused, and the relay doesn't hand them over. An older version, or SQL by hand, may
//! have put such a job into the queue nevertheless. It is quarantined here: its attempts are used up, and its payload
//! stays. A failed job session shows it to the team. The jobs that were fetched with it are released. All jobs are
//! searched before a worker's first fetch, and locked jobs at intervals.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::jobs::queue_state::QUARANTINED_PREFIX;
use crate::jobs::session::with_job_session;
use crate::jobs::spec::{SessionSpec, is_name};
use crate::json::{MAX_JSON_DEPTH, Unreadable};
use crate::tenancy::{Context, Database, WorkerDatabase};

/// Maximum number of payloads that are read in one round trip.
const BATCH: i64 = 200;

/// The jobs that are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Jobs that wait and jobs that are locked.
    All,
    /// Jobs that are locked.
    Locked,
}

/// A job that was quarantined.
struct Quarantined {
    task: String,
    payload: String,
    attempt: i32,
    max_attempts: i32,
}

/// The readable part of a payload with an unreadable input: serde_json skips a raw value without checking its depth and
/// its numbers.
#[derive(Deserialize)]
struct ReadableEnvelope<'a> {
    job_id: Option<Uuid>,
    context: Option<Context>,
    #[serde(borrow)]
    #[expect(dead_code, reason = "it is only skipped")]
    input: Option<&'a RawValue>,
}

/// Quarantines unreadable jobs, releases the jobs that were fetched with them, and records a failed session for each.
/// Returns the number of quarantined jobs.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn pass(database: &Database, workers: &WorkerDatabase, scope: Scope) -> Result<usize> {
    let unreadable = find(workers, scope).await?;
    if unreadable.is_empty() {
        return Ok(0);
    }
    let quarantined = quarantine(workers, &unreadable).await?;
    for job in &quarantined {
        tracing::error!(
            "jobs: a job of {} was quarantined and will not run: its payload can't be read",
            job.task
        );
        record_failure(database, job).await;
    }
    Ok(quarantined.len())
}

/// Finds the ids of unreadable jobs. SQL preselects jobs that have many brackets, large numbers or surrogates; each of
/// them is then decoded as the queue does it.
async fn find(workers: &WorkerDatabase, scope: Scope) -> Result<Vec<i64>> {
    let which = match scope {
        Scope::All => "(j.locked_at IS NOT NULL OR j.attempts < j.max_attempts)",
        Scope::Locked => "j.locked_at IS NOT NULL",
    };
    let sql = format!(
        "SELECT j.id, j.payload::text AS payload FROM graphile_worker._private_jobs j
         WHERE j.id > $1 AND {which} AND (
            length(j.payload::text) - length(translate(j.payload::text, '[{{', '')) > {MAX_JSON_DEPTH}
            OR j.payload::text ~ '[eE]\\+?[0-9]{{2}}|[0-9]{{250}}'
            OR strpos(lower(j.payload::text), '\\ud') > 0
         ) ORDER BY j.id LIMIT $2"
    );
    let mut unreadable = Vec::new();
    let mut after = 0_i64;
    loop {
        let query = sqlx::query(AssertSqlSafe(sql.as_str())).bind(after).bind(BATCH);
        let rows = workers.fetch_all(query).await?;
        for row in &rows {
            after = row.try_get("id")?;
            if serde_json::from_str::<Value>(row.try_get("payload")?).is_err() {
                unreadable.push(after);
            }
        }
        if i64::try_from(rows.len()).is_ok_and(|read| read < BATCH) {
            return Ok(unreadable);
        }
    }
}

/// Quarantines these jobs and releases the others of their fetches, in one transaction. Jobs with the same worker and
/// the same time of locking were fetched together. The result of that fetch could not be decoded, so none of them has
/// begun, and the attempt does not count. Retired jobs, such as cancelled ones, keep their number of attempts, as in
/// the queue's own functions.
async fn quarantine(workers: &WorkerDatabase, ids: &[i64]) -> Result<Vec<Quarantined>> {
    let mut tx = workers.begin().await?;
    // The locks come first: a statement that waits for a row's lock doesn't see what was committed to other tables
    // meanwhile, such as the retirement of a cancelled job.
    let locks = sqlx::query(
        "SELECT FROM graphile_worker._private_jobs
         WHERE id = ANY($1) OR (locked_by, locked_at) IN (
            SELECT locked_by, locked_at FROM graphile_worker._private_jobs WHERE id = ANY($1) AND locked_at IS NOT NULL)
         ORDER BY id FOR UPDATE",
    );
    tx.fetch_all(locks.bind(ids)).await?;
    let query = sqlx::query(
        "WITH bad AS (
            SELECT id, job_queue_id, locked_by, locked_at, payload::text AS payload, attempts, max_attempts, task_id
            FROM graphile_worker._private_jobs
            WHERE id = ANY($1) AND (locked_at IS NOT NULL OR attempts < max_attempts) FOR UPDATE
        ), released AS (
            UPDATE graphile_worker._private_jobs j
            SET locked_by = NULL, locked_at = NULL, updated_at = now(),
                attempts = CASE WHEN EXISTS (SELECT FROM graphile_worker._private_job_retirements r WHERE r.id = j.id)
                    THEN j.attempts ELSE greatest(j.attempts - 1, 0) END
            FROM (SELECT DISTINCT locked_by, locked_at FROM bad WHERE locked_at IS NOT NULL) fetched
            WHERE j.locked_by = fetched.locked_by AND j.locked_at = fetched.locked_at AND j.id <> ALL($1)
            RETURNING j.job_queue_id
        ), quarantined AS (
            UPDATE graphile_worker._private_jobs j
            SET locked_by = NULL, locked_at = NULL, attempts = j.max_attempts, last_error = $2, updated_at = now()
            FROM bad WHERE j.id = bad.id
            RETURNING j.id
        ), freed AS (
            UPDATE graphile_worker._private_job_queues q SET locked_by = NULL, locked_at = NULL
            FROM (SELECT DISTINCT locked_by FROM bad) fetched
            WHERE q.locked_by = fetched.locked_by AND q.id IN (
                SELECT job_queue_id FROM released UNION SELECT job_queue_id FROM bad)
        )
        SELECT t.identifier, b.payload, greatest(b.attempts, 1)::int AS attempt, b.max_attempts::int AS max_attempts
        FROM quarantined q JOIN bad b ON b.id = q.id JOIN graphile_worker._private_tasks t ON t.id = b.task_id",
    )
    .bind(ids)
    .bind(format!("{QUARANTINED_PREFIX}the payload can't be read as JSON"));
    let rows = tx.fetch_all(query).await?;
    tx.commit().await?;
    rows.iter()
        .map(|row| {
            Ok(Quarantined {
                task: row.try_get("identifier")?,
                payload: row.try_get("payload")?,
                attempt: row.try_get("attempt")?,
                max_attempts: row.try_get("max_attempts")?,
            })
        })
        .collect()
}

/// Writes a failed session for a quarantined job, for its team. The session has no job of the queue, so it can't be
/// retried.
async fn record_failure(database: &Database, job: &Quarantined) {
    let Ok(ReadableEnvelope {
        job_id,
        context: Some(context),
        ..
    }) = serde_json::from_str(&job.payload)
    else {
        return;
    };
    let name = if is_name(&job.task) {
        job.task.as_str()
    } else {
        "unknown"
    };
    let spec = SessionSpec::new(name)
        .input(&Unreadable::TOO_DEEP.placeholder())
        .context(context)
        .attempt(job_id.unwrap_or_else(Uuid::now_v7), job.attempt, job.max_attempts);
    let failed = with_job_session(database, spec, |_| async move {
        let refused = Error::invalid(
            "input",
            "can't be read as JSON; the job was quarantined and will not run",
        );
        Err::<(), _>(refused.into())
    });
    // The session is written. The error here is the one from above, unless the session could not be written.
    if let Err(error) = failed.await {
        tracing::debug!("jobs: the session of a quarantined job has ended with its error: {error}");
    }
}
