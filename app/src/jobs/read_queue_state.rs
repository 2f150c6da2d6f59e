//! Reads the state of the queue and the lag of consumers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::Row as _;

use super::consume::ConsumeEvents;
use super::job::Job as _;
use super::queue_state::{JobCounts, LastQueueState, OldestTransaction, QUARANTINED_PREFIX, QueueState};
use super::relay;
#[cfg(feature = "testing")]
use super::worker_options::WorkerOptions;
use crate::clock::Clock;
use crate::error::Result;
use crate::tenancy::WorkerDatabase;

/// Reads the state of the queue. A worker counts as dead after the default [`WorkerOptions::lost_after`].
///
/// # Errors
/// Those of any database statement.
#[cfg(feature = "testing")]
pub async fn queue_state(workers: &WorkerDatabase) -> Result<QueueState> {
    queue_state_with(workers, WorkerOptions::default().lost_after).await
}

/// Reads the state of the queue. A worker counts as dead if it sent no heartbeat for `lost_after`.
///
/// # Errors
/// Those of any database statement.
pub async fn queue_state_with(workers: &WorkerDatabase, lost_after: Duration) -> Result<QueueState> {
    let mut lags = relay::lags(workers).await?;
    let mut of_consumers = job_counts(workers, lost_after).await?;
    let mut jobs = JobCounts::default();
    of_consumers.values().for_each(|figures| jobs += *figures);
    for lag in &mut lags {
        lag.jobs = of_consumers.remove(&Some(lag.consumer.clone())).unwrap_or_default();
    }
    let oldest = sqlx::query(
        "SELECT pid, datname::text AS database, extract(epoch FROM now() - xact_start)::float8 AS seconds,
            backend_xid::text AS transaction
         FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
         ORDER BY age(backend_xid) DESC LIMIT 1",
    );
    let oldest = workers.fetch_all(oldest).await?;
    let oldest = oldest.first().map(|row| -> Result<OldestTransaction> {
        Ok(OldestTransaction {
            pid: row.try_get("pid")?,
            database: row.try_get("database")?,
            seconds: row.try_get::<Option<f64>, _>("seconds")?.unwrap_or_default(),
            transaction: row.try_get("transaction")?,
        })
    });
    Ok(QueueState {
        lags,
        jobs,
        oldest: oldest.transpose()?,
    })
}

/// Counts jobs by state: for each consumer, and, under `None`, for all other jobs.
async fn job_counts(workers: &WorkerDatabase, lost_after: Duration) -> Result<BTreeMap<Option<String>, JobCounts>> {
    let query = sqlx::query(
        "WITH held AS (
            SELECT j.run_at, j.attempts, j.max_attempts, j.locked_at, starts_with(j.last_error, $3) AS is_quarantined,
                CASE WHEN t.identifier = $1 THEN j.payload #>> '{input,consumer}' END AS consumer,
                coalesce(w.last_heartbeat_at, j.locked_at) < now() - $2 * interval '1 millisecond' AS is_abandoned
            FROM graphile_worker._private_jobs j
            JOIN graphile_worker._private_tasks t ON t.id = j.task_id
            LEFT JOIN graphile_worker._private_workers w ON w.id = j.locked_by
         ), queued AS (
            SELECT consumer, CASE
                WHEN locked_at IS NOT NULL AND is_abandoned THEN 'locked_by_dead_worker'
                WHEN locked_at IS NOT NULL THEN 'running'
                WHEN attempts >= max_attempts AND is_quarantined THEN 'quarantined'
                WHEN attempts >= max_attempts THEN 'given_up'
                WHEN run_at <= now() THEN 'due'
                WHEN attempts > 0 THEN 'retrying'
                ELSE 'scheduled'
            END AS state
            FROM held
         ), asked AS (
            SELECT CASE WHEN job_name = $1 THEN input ->> 'consumer' END AS consumer, CASE
                WHEN refused IS NOT NULL THEN 'refused'
                WHEN run_at <= now() THEN 'due'
                ELSE 'scheduled'
            END AS state
            FROM job_requests WHERE action = 'run' OR refused IS NOT NULL
         )
         SELECT consumer, state, count(*) AS jobs
         FROM (SELECT consumer, state FROM queued UNION ALL SELECT consumer, state FROM asked) AS every_job GROUP BY consumer, state",
    )
    .bind(ConsumeEvents::NAME)
    .bind(i64::try_from(lost_after.as_millis()).unwrap_or(i64::MAX))
    .bind(QUARANTINED_PREFIX);
    let mut of_consumers = BTreeMap::<Option<String>, JobCounts>::new();
    for row in &workers.fetch_all(query).await? {
        let figures = of_consumers.entry(row.try_get("consumer")?).or_default();
        let jobs: i64 = row.try_get("jobs")?;
        match row.try_get::<&str, _>("state")? {
            "due" => figures.due = jobs,
            "scheduled" => figures.scheduled = jobs,
            "retrying" => figures.retrying = jobs,
            "running" => figures.running = jobs,
            "locked_by_dead_worker" => figures.locked_by_dead_worker = jobs,
            "given_up" => figures.given_up = jobs,
            "quarantined" => figures.quarantined = jobs,
            _ => figures.refused = jobs,
        }
    }
    Ok(of_consumers)
}

/// Reads the state at each interval into `last`; never returns.
pub(super) async fn poll_queue_state(
    last: LastQueueState,
    workers: WorkerDatabase,
    every: Duration,
    lost_after: Duration,
    clock: Clock,
) {
    let mut ticks = tokio::time::interval(every);
    // The oldest transaction, and when it was first seen as the oldest.
    let mut oldest: Option<(Option<String>, Instant)> = None;
    loop {
        ticks.tick().await;
        match queue_state_with(&workers, lost_after).await {
            Ok(mut seen) => {
                oldest = seen.oldest.as_mut().map(|now| {
                    let since = match &oldest {
                        Some((transaction, since)) if *transaction == now.transaction => *since,
                        _ => clock.instant(),
                    };
                    now.seconds = now.seconds.max(clock.elapsed_since(since).as_secs_f64());
                    (now.transaction.clone(), since)
                });
                last.set(seen);
            }
            Err(error) => {
                tracing::debug!("jobs: could not read the state of the queue, so /metrics keeps the last one: {error}")
            }
        }
    }
}
