//! Jobs that transactions asked for.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use crate::error::Result;
use crate::json::unreadable_in_sql;
use crate::tenancy::WorkerTx;

/// What `refused` says of an input that the queue could not decode.
const UNREADABLE: &str = "the input can't be read as JSON: it is nested too deep, or has a number out of range";

/// SQL for the key that a request's job has in the queue; null for one without.
const KEY: &str = "CASE WHEN action = 'retry' THEN team_id || ':retry:' || job_id
    WHEN action = 'run' AND unique_key IS NOT NULL THEN team_id || ':' || job_name || ':' || unique_key END";

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HandedOver {
    /// How many were moved, or quarantined.
    pub(super) done: u64,
    /// How many wait for a lock.
    pub(super) blocked: u64,
}

/// Moves what was asked for to the queue, oldest first. What could not be decoded there is quarantined here.
///
/// The queue's own `add_jobs` waits for the advisory lock of a job's key, and any session of the database can hold such a
/// lock. So the locks are tried first: what can't have its lock stays where it is, and the others don't wait for it.
///
/// Of the jobs of one key there must be one in a batch: the newest, at the time that the first asked for.
pub(super) async fn hand_over(tx: &mut WorkerTx, limit: i64) -> Result<HandedOver> {
    let sql = format!(
        "WITH oldest AS MATERIALIZED (
            SELECT team_id, id, {unreadable} AS unreadable, {KEY} AS key
            FROM job_requests WHERE refused IS NULL ORDER BY id LIMIT $1
        ), batch AS MATERIALIZED (
            SELECT team_id, id, unreadable FROM oldest
            WHERE unreadable OR key IS NULL OR pg_try_advisory_xact_lock(hashtext(key))
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
            (SELECT count(*) FROM oldest) - (SELECT count(*) FROM batch) AS blocked,
            coalesce((SELECT jsonb_agg(to_jsonb(t) ORDER BY t.id) FROM taken t WHERE action <> 'run'), '[]') AS asked",
        unreadable = unreadable_in_sql("input"),
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(limit).bind(UNREADABLE);
    let row = tx.fetch_one(query).await?;
    let (taken, quarantined): (i64, i64) = (row.try_get("taken")?, row.try_get("quarantined")?);
    if quarantined > 0 {
        tracing::error!("jobs: {quarantined} job requests were quarantined: {UNREADABLE}");
    }
    let asked: serde_json::Value = row.try_get("asked")?;
    for change in asked.as_array().into_iter().flatten() {
        let change = serde_json::from_value(change.clone())?;
        change_of_mind(tx, &change).await?;
    }
    let blocked: i64 = row.try_get("blocked")?;
    Ok(HandedOver {
        done: u64::try_from(taken + quarantined).unwrap_or_default(),
        blocked: u64::try_from(blocked).unwrap_or_default(),
    })
}

/// Sets the oldest aside, which can't be handed over: it must not hold up the others.
pub(super) async fn set_aside(tx: &mut WorkerTx, why: &str) -> Result<()> {
    let query = sqlx::query(
        "UPDATE job_requests SET refused = $1 WHERE (team_id, id) = (
            SELECT team_id, id FROM job_requests WHERE refused IS NULL ORDER BY id LIMIT 1)",
    );
    tx.execute(query.bind(why)).await?;
    Ok(())
}

/// What is asked of a job that is in the queue already.
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

async fn change_of_mind(tx: &mut WorkerTx, change: &Change) -> Result<()> {
    // The queue's numbers are not the team's own: it must be the job that the team named.
    let query = sqlx::query(
        "SELECT j.id, j.attempts, j.max_attempts, j.locked_at IS NOT NULL AS held FROM graphile_worker._private_jobs j
         WHERE j.id = $1 AND j.payload #>> '{context,team_id}' = $2::text FOR UPDATE",
    )
    .bind(change.queue_job_id)
    .bind(change.team_id.to_string());
    let Some(job) = tx.fetch_optional(query).await? else {
        return match change.action.as_str() {
            "retry" => ask_anew(tx, change).await,
            _ => Ok(()),
        };
    };
    let (tried, most): (i16, i16) = (job.try_get("attempts")?, job.try_get("max_attempts")?);
    match (change.action.as_str(), job.try_get("held")?) {
        ("cancel", false) => {
            let query = sqlx::query("SELECT FROM graphile_worker.complete_jobs(ARRAY[$1::bigint])");
            tx.execute(query.bind(id(&job)?)).await?;
        }
        // A worker has it, and begins it in a moment: it is its last attempt.
        ("cancel", true) => {
            let query = sqlx::query("UPDATE graphile_worker._private_jobs SET max_attempts = attempts WHERE id = $1");
            tx.execute(query.bind(id(&job)?)).await?;
        }
        ("retry", false) => {
            // The numbers of attempts go on.
            let most = if tried >= most {
                tried.saturating_add(change.max_attempts)
            } else {
                most
            };
            let query =
                sqlx::query("SELECT FROM graphile_worker.reschedule_jobs(ARRAY[$1::bigint], now(), NULL, $2, $3)");
            tx.execute(query.bind(id(&job)?).bind(i32::from(tried)).bind(i32::from(most)))
                .await?;
        }
        // A worker has it already.
        _ => {}
    }
    Ok(())
}

/// The queue has forgotten the job: as if it were asked for anew, once however often it is.
async fn ask_anew(tx: &mut WorkerTx, change: &Change) -> Result<()> {
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
