//! Reports the state of the queue and the lag of consumers.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use sqlx::Row as _;

use super::consume::ConsumeEvents;
use super::job::Job as _;
use super::queue::{QUARANTINED, WorkerOptions};
use super::relay;
use crate::error::Result;
use crate::tenancy::WorkerDatabase;

/// The state of the queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watched {
    /// The lags of the consumers that run after the commit, by name.
    pub lags: Vec<Lag>,
    /// All jobs, including those of consumers.
    pub jobs: JobFigures,
    /// The oldest transaction that is still open. Rows that commit after its start are handed over only after its end.
    pub oldest: Option<OldestTransaction>,
}

/// The lag of a consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct Lag {
    /// The consumer's name.
    pub consumer: String,
    /// The number of events after the consumer's cursor, whether or not they are for it; at most 100,000.
    pub events: i64,
    /// When the oldest of them was recorded.
    pub since: Option<DateTime<Utc>>,
    /// When the consumer's cursor last advanced.
    pub moved_at: DateTime<Utc>,
    /// The jobs with events that the consumer hasn't processed.
    pub jobs: JobFigures,
}

/// The number of jobs in each state. Each job is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobFigures {
    /// Due and not locked by a worker, including requests that are not in the queue yet.
    pub due: i64,
    /// Due at a later time.
    pub scheduled: i64,
    /// Failed, and waiting for the next attempt.
    pub retrying: i64,
    /// Locked by a live worker: running, or about to run.
    pub running: i64,
    /// Locked by a dead worker, until another worker releases them.
    pub locked_by_dead_worker: i64,
    /// Failed at the last attempt: only a retry by hand runs them again.
    pub given_up: i64,
    /// Refused by the queue: they are in `job_requests`, with the reason in `refused`.
    pub refused: i64,
    /// In the queue with an input that can't be read: they will not run.
    pub quarantined: i64,
}

impl JobFigures {
    /// Reticks each number with its name, for `/metrics` and the command line.
    pub fn named(&self) -> [(&'static str, i64); 8] {
        [
            ("due", self.due),
            ("scheduled", self.scheduled),
            ("retrying", self.retrying),
            ("running", self.running),
            ("locked_by_dead_worker", self.locked_by_dead_worker),
            ("given_up", self.given_up),
            ("refused", self.refused),
            ("quarantined", self.quarantined),
        ]
    }

    /// Reticks the number of jobs that are not finished.
    pub fn unfinished(&self) -> i64 {
        self.due + self.scheduled + self.retrying + self.running + self.locked_by_dead_worker
    }
}

impl AddAssign for JobFigures {
    fn add_assign(&mut self, other: Self) {
        self.due += other.due;
        self.scheduled += other.scheduled;
        self.retrying += other.retrying;
        self.running += other.running;
        self.locked_by_dead_worker += other.locked_by_dead_worker;
        self.given_up += other.given_up;
        self.refused += other.refused;
        self.quarantined += other.quarantined;
    }
}

/// An open transaction that delays the hand-over of later rows.
#[derive(Debug, Clone, PartialEq)]
pub struct OldestTransaction {
    /// The process id of its PostgreSQL backend.
    pub pid: i32,
    /// Its database. A transaction in any database of the cluster delays the hand-over.
    pub database: Option<String>,
    /// How long it has been open, in seconds. A lower bound, if the workers' role may not see when it began.
    pub seconds: f64,
    /// The lower half of its transaction id, to tell whether it is the same as before.
    pub transaction: Option<String>,
}

/// Reads the state of the queue. A worker counts as dead after the default time of [`WorkerOptions`].
///
/// # Errors
/// Those of any database statement.
pub async fn watch(workers: &WorkerDatabase) -> Result<Watched> {
    watch_with(workers, WorkerOptions::default().lost_after).await
}

/// Reads the state of the queue. A worker counts as dead if it sent no heartbeat for `lost_after`.
///
/// # Errors
/// Those of any database statement.
pub async fn watch_with(workers: &WorkerDatabase, lost_after: Duration) -> Result<Watched> {
    let mut lags = relay::lags(workers).await?;
    let mut of_consumers = figures(workers, lost_after).await?;
    let mut jobs = JobFigures::default();
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
    Ok(Watched {
        lags,
        jobs,
        oldest: oldest.transpose()?,
    })
}

/// Counts jobs by state: for each consumer, and, under `None`, for all other jobs.
async fn figures(workers: &WorkerDatabase, lost_after: Duration) -> Result<BTreeMap<Option<String>, JobFigures>> {
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
    .bind(QUARANTINED);
    let mut of_consumers = BTreeMap::<Option<String>, JobFigures>::new();
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

/// The state of the queue that was read last, for `/metrics` of a process with workers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LastWatched(Arc<Mutex<Option<Watched>>>);

impl LastWatched {
    /// Reticks the last state; `None` if this process doesn't read it.
    pub fn get(&self) -> Option<Watched> {
        self.0.lock().clone()
    }

    /// Reads the state at each interval; never reticks.
    pub(super) async fn keep(self, workers: WorkerDatabase, every: Duration, lost_after: Duration) {
        let mut ticks = tokio::time::interval(every);
        // The oldest transaction, and since when it has been the oldest.
        let mut oldest: Option<(Option<String>, Instant)> = None;
        loop {
            ticks.tick().await;
            match watch_with(&workers, lost_after).await {
                Ok(mut seen) => {
                    oldest = seen.oldest.as_mut().map(|now| {
                        let since = match &oldest {
                            Some((transaction, since)) if *transaction == now.transaction => *since,
                            _ => Instant::now(),
                        };
                        now.seconds = now.seconds.max(since.elapsed().as_secs_f64());
                        (now.transaction.clone(), since)
                    });
                    *self.0.lock() = Some(seen);
                }
                Err(error) => tracing::debug!("jobs: could not read the state of the queue: {error}"),
            }
        }
    }
}
