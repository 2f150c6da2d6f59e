//! How the queue stands, and how far its consumers are behind.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use crate::error::Result;
use crate::tenancy::WorkerDatabase;

/// How the queue stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watched {
    /// Consumers that run after the commit, by name.
    pub lags: Vec<Lag>,
    /// Jobs that are due and wait for a worker.
    pub due: i64,
    /// Jobs that were given up after their last attempt.
    pub given_up: i64,
    /// The oldest transaction that is under way. What commits after it began is handed over once it has ended.
    pub oldest: Option<OldestTransaction>,
}

/// How far a consumer is behind what is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Lag {
    /// The consumer.
    pub consumer: String,
    /// Events that were not looked at yet, for it or not; 100,000 if there are more.
    pub events: i64,
    /// When the oldest of them was recorded.
    pub since: Option<DateTime<Utc>>,
    /// When the consumer last moved on.
    pub moved_at: DateTime<Utc>,
}

/// A transaction that holds up what comes after it.
#[derive(Debug, Clone, PartialEq)]
pub struct OldestTransaction {
    /// PostgreSQL's process.
    pub pid: i32,
    /// Its database: any of the cluster's holds up all.
    pub database: Option<String>,
    /// How long it has been under way, in seconds: at least, where the workers' role may not see when it began.
    pub seconds: f64,
    /// Its number, of the lower half: whether it is the same as before.
    pub transaction: Option<String>,
}

/// Looks how the queue stands.
///
/// # Errors
/// As any statement.
pub async fn watch(workers: &WorkerDatabase) -> Result<Watched> {
    let lags = sqlx::query(
        "SELECT c.consumer, c.updated_at, l.events, l.since
         FROM consumer_cursors c
         CROSS JOIN LATERAL (
            SELECT count(*) AS events, min(next.created_at) AS since FROM (
                SELECT e.created_at FROM events e
                WHERE (e.transaction_id, e.id) > (c.transaction_id, c.event_id)
                ORDER BY e.transaction_id, e.id LIMIT 100000
            ) next
         ) l
         WHERE c.consumer <> '' ORDER BY c.consumer",
    );
    let lags = workers.fetch_all(lags).await?;
    let lags = lags.iter().map(|row| {
        Ok(Lag {
            consumer: row.try_get("consumer")?,
            events: row.try_get("events")?,
            since: row.try_get("since")?,
            moved_at: row.try_get("updated_at")?,
        })
    });
    let jobs = sqlx::query(
        "SELECT count(*) FILTER (WHERE is_available AND run_at <= now()) AS due,
            count(*) FILTER (WHERE attempts >= max_attempts AND locked_at IS NULL) AS given_up
         FROM graphile_worker._private_jobs",
    );
    let jobs = workers.fetch_all(jobs).await?;
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
        lags: lags.collect::<Result<_>>()?,
        due: jobs.first().map_or(Ok(0), |row| row.try_get("due"))?,
        given_up: jobs.first().map_or(Ok(0), |row| row.try_get("given_up"))?,
        oldest: oldest.transpose()?,
    })
}

/// What was last seen, for `/metrics` of a process that works: an extension of the
/// [`Database`](crate::tenancy::Database).
#[derive(Debug, Clone, Default)]
pub struct LastWatched(Arc<Mutex<Option<Watched>>>);

impl LastWatched {
    /// None where nobody looks.
    pub fn get(&self) -> Option<Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks again and again.
    pub(super) async fn keep(self, workers: WorkerDatabase, every: Duration) {
        let mut turns = tokio::time::interval(every);
        // The oldest transaction, and since when it has been that.
        let mut oldest: Option<(Option<String>, Instant)> = None;
        loop {
            turns.tick().await;
            match watch(&workers).await {
                Ok(mut seen) => {
                    oldest = seen.oldest.as_mut().map(|now| {
                        let since = match &oldest {
                            Some((transaction, since)) if *transaction == now.transaction => *since,
                            _ => Instant::now(),
                        };
                        now.seconds = now.seconds.max(since.elapsed().as_secs_f64());
                        (now.transaction.clone(), since)
                    });
                    *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
                }
                Err(error) => tracing::debug!("jobs: the queue could not be looked at: {error}"),
            }
        }
    }
}
