//! Hands job requests over to the queue.
//!
//! The queue's own `add_jobs` waits for the advisory lock of a job's key, and any session of the database can hold such
//! a lock. So the relay tries the locks first: a request whose key is locked stays in the table, and the others don't
//! wait for it.
//!
//! **Invariant:** of the requests of one key that a scan sees, a newer one is never handed over before an older one. (A
//! request that is committed behind the place of a scan is seen by the next scan.) A lock is tried once for each key,
//! so a batch takes either all of its requests of a key or none. A [`Scan`] that has found a key locked takes none of
//! its later requests.

use std::fmt;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use crate::error::Result;
use crate::json::unreadable_in_sql;
use crate::tenancy::WorkerTx;

/// The value of `refused` for an input that the queue could not decode.
const UNREADABLE: &str = "the input can't be read as JSON: it is nested too deep, or has a number out of range";

/// SQL for the key of a request's job in the queue; null for a job without a key.
const KEY: &str = "CASE WHEN action = 'retry' THEN team_id || ':retry:' || job_id
    WHEN action = 'run' AND unique_key IS NOT NULL THEN team_id || ':' || job_name || ':' || unique_key END";

/// Identifies a request. Requests are ordered by it, the oldest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RequestId {
    id: Uuid,
    team_id: Uuid,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of team {}", self.id, self.team_id)
    }
}

/// A pass over all requests, from the oldest to the newest, in batches.
///
/// A batch reads a bounded number of rows. So requests with locked keys, however many, neither fill all batches nor
/// make each batch longer. The scan begins again at the oldest request when it has reached the newest one, or when it
/// has handed over as many requests as it left. So locked keys are tried again even if requests arrive faster than they
/// are handed over, and reading the locked ones again is at most half of the work.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The last request that was read.
    after: RequestId,
    /// The advisory locks of keys that were found locked.
    locked: Vec<i32>,
    handed_over: u64,
    left: u64,
}

impl Scan {
    /// Moves on to the requests after a batch whose transaction has committed.
    pub(super) fn advance(&mut self, batch: Batch) {
        self.after = batch.last.unwrap_or(self.after);
        self.locked.extend(batch.locked);
        self.handed_over += batch.done;
        self.left += batch.left;
    }

    /// Returns the number of requests that the scan has left because of locked keys.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Begins again at the oldest request, if no requests come after the last batch (`is_at_end`), or if enough
    /// requests were handed over.
    pub(super) fn restart_if_due(&mut self, is_at_end: bool) {
        if is_at_end || self.handed_over >= self.left {
            *self = Self::default();
        }
    }
}

/// The result of handing over one batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The number of requests that were handed over or refused.
    pub(super) done: u64,
    /// The number of requests that stay because another session holds the lock of their key.
    pub(super) left: u64,
    /// The number of requests that were read.
    pub(super) read: u64,
    /// The newest request of the batch.
    last: Option<RequestId>,
    /// The locks that another session holds and that the scan did not know.
    locked: Vec<i32>,
}

/// Hands over the next requests of a scan, at most `limit`.
///
/// # Errors
/// Those of any database statement. Then the transaction must be rolled back.
pub(super) async fn hand_over_next(tx: &mut WorkerTx, scan: &Scan, limit: i64) -> Result<Batch> {
    hand_over(tx, "(id, team_id) > ($3, $4)", scan.after, &scan.locked, limit).await
}

/// Hands over one request, unless it is gone, was refused, or has a locked key.
///
/// # Errors
/// As [`hand_over_next`].
pub(super) async fn hand_over_one(tx: &mut WorkerTx, scan: &Scan, request: RequestId) -> Result<Batch> {
    hand_over(tx, "(id, team_id) = ($3, $4)", request, &scan.locked, 1).await
}

/// Hands over the oldest requests for which `condition` holds. Requests that the queue could not decode are marked as
/// refused, and stay in their table.
///
/// A batch puts one job for each key into the queue: the newest one, at the earliest time that one of them asked for.
async fn hand_over(tx: &mut WorkerTx, condition: &str, place: RequestId, locked: &[i32], limit: i64) -> Result<Batch> {
    let sql = format!(
        "WITH page AS MATERIALIZED (
            SELECT team_id, id, {unreadable} AS unreadable, hashtext({KEY}) AS lock FROM (
                SELECT team_id, id, action, job_name, job_id, unique_key, input FROM job_requests
                WHERE refused IS NULL AND {condition} ORDER BY id, team_id LIMIT $1
            ) oldest
        ), tried AS MATERIALIZED (
            SELECT lock, pg_try_advisory_xact_lock(lock) AS is_free
            FROM (SELECT DISTINCT lock FROM page WHERE NOT unreadable AND lock IS NOT NULL
                AND NOT EXISTS (SELECT FROM unnest($5::int[]) AS held (lock) WHERE held.lock = page.lock)) AS locks
        ), batch AS MATERIALIZED (
            SELECT team_id, id, unreadable FROM page
            WHERE unreadable OR lock IS NULL OR lock IN (SELECT lock FROM tried WHERE is_free)
        ), quarantined AS (
            UPDATE job_requests r SET refused = $2 FROM batch b
            WHERE b.unreadable AND r.team_id = b.team_id AND r.id = b.id RETURNING r.id
        ), taken AS (
            DELETE FROM job_requests r USING batch b
            WHERE NOT b.unreadable AND r.team_id = b.team_id AND r.id = b.id
            RETURNING r.team_id, r.id, r.action, r.job_name, r.job_id, r.queue_job_id, r.input, r.context, r.queue_name,
                r.unique_key, r.run_at, r.priority, r.max_attempts
        ), keyed AS (
            SELECT team_id, id, job_name, job_id, input, context, queue_name, run_at, priority, max_attempts,
                {KEY} AS key
            FROM taken WHERE action = 'run'
        ), ranked AS (
            SELECT team_id, id, job_name, job_id, input, context, queue_name, priority, max_attempts, key,
                min(run_at) OVER same AS first_run_at,
                row_number() OVER (PARTITION BY coalesce(key, id::text) ORDER BY id DESC) AS newest
            FROM keyed WINDOW same AS (PARTITION BY coalesce(key, id::text))
        ), added AS (
            SELECT FROM graphile_worker.add_jobs(ARRAY(
                SELECT ROW(job_name, jsonb_build_object('job_id', job_id, 'input', input, 'context', context)::json,
                    team_id || ':' || queue_name, first_run_at, max_attempts, key, priority, NULL
                )::graphile_worker.job_spec
                FROM ranked WHERE newest = 1 ORDER BY id
            ), true)
            WHERE EXISTS (SELECT FROM keyed)
        )
        SELECT (SELECT count(*) FROM taken) AS taken, (SELECT count(*) FROM added) AS added,
            (SELECT count(*) FROM quarantined) AS quarantined,
            (SELECT count(*) FROM page) AS read, (SELECT count(*) FROM batch) AS chosen,
            last.id AS last_id, last.team_id AS last_team_id,
            ARRAY(SELECT lock FROM tried WHERE NOT is_free) AS locked,
            coalesce((SELECT jsonb_agg(to_jsonb(t) ORDER BY t.id) FROM taken t WHERE action <> 'run'), '[]') AS changes
        FROM (SELECT) AS one LEFT JOIN (SELECT id, team_id FROM page ORDER BY id DESC, team_id DESC LIMIT 1) last ON true",
        unreadable = unreadable_in_sql("input"),
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(limit)
        .bind(UNREADABLE)
        .bind(place.id)
        .bind(place.team_id)
        .bind(locked);
    let row = tx.fetch_one(query).await?;
    let (taken, quarantined): (i64, i64) = (row.try_get("taken")?, row.try_get("quarantined")?);
    if quarantined > 0 {
        tracing::error!("jobs: {quarantined} job requests are refused: {UNREADABLE}");
    }
    let changes: serde_json::Value = row.try_get("changes")?;
    for change in changes.as_array().into_iter().flatten() {
        let change = serde_json::from_value(change.clone())?;
        apply_change(tx, &change).await?;
    }
    let (read, chosen): (i64, i64) = (row.try_get("read")?, row.try_get("chosen")?);
    let last = match (row.try_get("last_id")?, row.try_get("last_team_id")?) {
        (Some(id), Some(team_id)) => Some(RequestId { id, team_id }),
        _ => None,
    };
    Ok(Batch {
        done: u64::try_from(taken + quarantined).unwrap_or_default(),
        left: u64::try_from(read - chosen).unwrap_or_default(),
        read: u64::try_from(read).unwrap_or_default(),
        last,
        locked: row.try_get("locked")?,
    })
}

/// Returns the next requests of a scan, at most `limit`.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn next(tx: &mut WorkerTx, scan: &Scan, limit: i64) -> Result<Vec<RequestId>> {
    let query = sqlx::query(
        "SELECT id, team_id FROM job_requests WHERE refused IS NULL AND (id, team_id) > ($1, $2)
         ORDER BY id, team_id LIMIT $3",
    );
    let query = query.bind(scan.after.id).bind(scan.after.team_id).bind(limit);
    let rows = tx.fetch_all(query).await?;
    rows.iter()
        .map(|row| {
            Ok(RequestId {
                id: row.try_get("id")?,
                team_id: row.try_get("team_id")?,
            })
        })
        .collect()
}

/// Marks a request as refused, so that the relay does not try it again.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn refuse(tx: &mut WorkerTx, request: RequestId, why: &str) -> Result<()> {
    let query = sqlx::query("UPDATE job_requests SET refused = $3 WHERE id = $1 AND team_id = $2");
    tx.execute(query.bind(request.id).bind(request.team_id).bind(why))
        .await?;
    Ok(())
}

/// A request to change a job that is in the queue already.
#[derive(Debug, serde::Deserialize)]
struct Change {
    team_id: Uuid,
    action: String,
    job_name: String,
    job_id: Uuid,
    queue_job_id: Option<i64>,
    input: serde_json::Value,
    context: serde_json::Value,
    max_attempts: i16,
}

/// Cancels or retries a job.
async fn apply_change(tx: &mut WorkerTx, change: &Change) -> Result<()> {
    // All teams share the queue's ids, so the query checks that the job belongs to the request's team.
    let query = sqlx::query(
        "SELECT j.id, j.attempts, j.max_attempts, j.locked_at IS NOT NULL AS held FROM graphile_worker._private_jobs j
         WHERE j.id = $1 AND j.payload #>> '{context,team_id}' = $2::text FOR UPDATE",
    )
    .bind(change.queue_job_id)
    .bind(change.team_id.to_string());
    let Some(job) = tx.fetch_optional(query).await? else {
        return match change.action.as_str() {
            "retry" => enqueue_again(tx, change).await,
            _ => Ok(()),
        };
    };
    let (attempts, max_attempts): (i16, i16) = (job.try_get("attempts")?, job.try_get("max_attempts")?);
    match (change.action.as_str(), job.try_get("held")?) {
        ("cancel", false) => {
            let query = sqlx::query("SELECT FROM graphile_worker.complete_jobs(ARRAY[$1::bigint])");
            tx.execute(query.bind(id(&job)?)).await?;
        }
        // A worker has fetched the job, and may begin it at any time. That attempt becomes the last one. A worker that
        // gives the job back before it begins does not count the attempt, unless the job is marked as retired.
        ("cancel", true) => {
            let query = sqlx::query(
                "WITH cancelled AS (
                    UPDATE graphile_worker._private_jobs SET max_attempts = attempts WHERE id = $1 RETURNING id
                )
                INSERT INTO graphile_worker._private_job_retirements (id) SELECT id FROM cancelled ON CONFLICT DO NOTHING",
            );
            tx.execute(query.bind(id(&job)?)).await?;
        }
        ("retry", false) => {
            // The numbers of attempts continue. So a job that was given up gets a higher maximum.
            let max_attempts = if attempts >= max_attempts {
                attempts.saturating_add(change.max_attempts)
            } else {
                max_attempts
            };
            let query =
                sqlx::query("SELECT FROM graphile_worker.reschedule_jobs(ARRAY[$1::bigint], now(), NULL, $2, $3)");
            let query = query.bind(id(&job)?).bind(i32::from(attempts));
            tx.execute(query.bind(i32::from(max_attempts))).await?;
        }
        // A worker is about to begin the job. If the job was cancelled meanwhile, that attempt counts as the first of those
        // that a retry gives.
        ("retry", true) => {
            let query = sqlx::query(
                "WITH revived AS (
                    DELETE FROM graphile_worker._private_job_retirements WHERE id = $1 RETURNING id
                )
                UPDATE graphile_worker._private_jobs j SET max_attempts = least(j.attempts::int - 1 + $2, 32767)
                FROM revived r WHERE j.id = r.id",
            );
            tx.execute(query.bind(id(&job)?).bind(change.max_attempts)).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Enqueues a job that is gone from the queue again. It gets a deduplication key, so that several requests enqueue it
/// once.
async fn enqueue_again(tx: &mut WorkerTx, change: &Change) -> Result<()> {
    let query = sqlx::query(
        "SELECT FROM graphile_worker.add_jobs(ARRAY[ROW($1, $2::json, NULL, now(), $3, $4, 0, NULL
            )::graphile_worker.job_spec])",
    )
    .bind(&change.job_name)
    .bind(serde_json::json!({"job_id": change.job_id, "input": change.input, "context": change.context}))
    .bind(change.max_attempts)
    .bind(format!("{}:retry:{}", change.team_id, change.job_id));
    tx.execute(query).await?;
    Ok(())
}

fn id(job: &PgRow) -> Result<i64> {
    Ok(job.try_get("id")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests that come in without end must not keep those with locked keys from being tried again.
    #[test]
    fn a_scan_begins_again_at_its_end_or_when_it_has_handed_over_as_much_as_it_left() {
        let batch = |id, done, left| Batch {
            done,
            left,
            read: done + left,
            last: Some(RequestId {
                id: Uuid::from_u128(id),
                team_id: Uuid::nil(),
            }),
            locked: vec![7],
        };
        let began_again =
            |scan: &Scan| scan.after == RequestId::default() && scan.locked.is_empty() && scan.left() == 0;
        let mut scan = Scan::default();
        scan.advance(batch(1, 1, 4));
        scan.restart_if_due(false);
        scan.advance(batch(2, 2, 0));
        scan.restart_if_due(false);
        assert!(!began_again(&scan), "it has left 4 and handed over 3");
        assert_eq!((scan.after.id, scan.left()), (Uuid::from_u128(2), 4));
        scan.advance(batch(3, 1, 0));
        scan.restart_if_due(false);
        assert!(began_again(&scan));
        scan.advance(batch(1, 0, 4));
        scan.restart_if_due(true);
        assert!(began_again(&scan));
    }
}
