//! From what has committed to the queue: jobs that transactions asked for, and events for durable consumers.
//!
//! One process at a time does it, whoever holds the leader's row of `consumer_cursors`. A pass is one transaction with its
//! cursors, so that nothing is handed over twice and nothing is left out. It is woken by hints, and looks by itself
//! every second, since hints may be lost.
//!
//! **Invariant:** it sees *that* something happened in which team, never what: an event's contents are read by its
//! consumer, under the team's own policy.

mod cursor;
mod events;
mod requests;

pub(super) use self::cursor::lags;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::events::{ConsumerDef, Consumers};
use crate::jobs::notifier::Notifier;
use crate::tenancy::{Database, WorkerDatabase, WorkerTx};

/// After a hint that led to nothing: what was hinted at may be in a transaction that can't be seen past yet.
const AGAIN: Duration = Duration::from_millis(20);
/// How long another process may lead until this one takes it that the consumers have begun.
const BEGINNING: Duration = Duration::from_secs(3);

/// How many jobs are handed over in one transaction.
const BATCH: i64 = 1_000;

/// Hands over, until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    workers: WorkerDatabase,
    durable: Vec<&'static ConsumerDef>,
    notifier: Notifier,
    poll: Duration,
    /// How many requests the last pass left because of a lock.
    blocked: AtomicU64,
}

impl Relay {
    pub(super) fn new(database: &Database, workers: &WorkerDatabase, poll: Duration) -> Self {
        let consumers = database.extension::<Consumers>();
        Self {
            workers: workers.clone(),
            durable: consumers.map_or_else(Vec::new, |consumers| consumers.durable().collect()),
            notifier: database.extension::<Notifier>().cloned().unwrap_or_default(),
            poll,
            blocked: AtomicU64::new(0),
        }
    }

    /// Makes sure that every durable consumer has begun, by this process or by the one that leads.
    pub(super) async fn begin(&self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < BEGINNING {
            match self.pass().await {
                Ok(Some(_)) => break,
                Ok(None) => tokio::time::sleep(AGAIN).await,
                Err(error) if error.is_stale_plan() => tokio::time::sleep(AGAIN).await,
                Err(error @ Error::Unavailable { .. }) => return Err(error),
                Err(error) => {
                    self.set_aside(&error).await;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn run(self) {
        let mut pause = self.poll;
        loop {
            match self.pass().await {
                // There may be more.
                Ok(Some(handed)) if handed > 0 => {
                    pause = AGAIN;
                    continue;
                }
                Ok(_) => {}
                // A table was changed beside this process. The next pass has other connections.
                Err(error) if error.is_stale_plan() => pause = AGAIN,
                Err(error) => self.set_aside(&error).await,
            }
            tokio::select! {
                () = self.notifier.work() => pause = AGAIN,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(self.poll),
            }
        }
    }

    /// After a pass that failed: if it was for what one of them has asked, the others must not wait for that.
    async fn set_aside(&self, error: &Error) {
        tracing::warn!("jobs: nothing could be handed over: {}", cause(error));
        if let Err(error) = self.one_by_one().await {
            tracing::warn!("jobs: nor one by one: {}", cause(&error));
        }
    }

    /// Hands over what was asked for one by one, and sets aside what can't be.
    async fn one_by_one(&self) -> Result<()> {
        for _ in 0..BATCH {
            let mut tx = self.workers.begin().await?;
            if !lead(&mut tx).await? {
                break;
            }
            tx.execute(sqlx::query("SAVEPOINT one")).await?;
            match requests::hand_over(&mut tx, 1).await {
                Ok(handed) if handed.done == 0 => break,
                Ok(_) => {}
                Err(error) if is_of_its_row(&error) => {
                    tracing::error!("jobs: a job that can't be handed over is set aside: {}", cause(&error));
                    tx.execute(sqlx::query("ROLLBACK TO SAVEPOINT one")).await?;
                    requests::set_aside(&mut tx, &cause(&error)).await?;
                }
                Err(error) => return Err(error),
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Returns how much was handed over; none while another process leads.
    async fn pass(&self) -> Result<Option<u64>> {
        let mut tx = self.workers.begin().await?;
        if !lead(&mut tx).await? {
            return Ok(None);
        }
        let asked = requests::hand_over(&mut tx, BATCH).await?;
        let events = events::hand_over(&mut tx, &self.durable).await?;
        tx.commit().await?;
        self.note_blocked(asked.blocked);
        Ok(Some(asked.done + events))
    }

    /// Logs when requests begin to wait for a lock, and when they go on.
    fn note_blocked(&self, blocked: u64) {
        match (self.blocked.swap(blocked, Ordering::Relaxed), blocked) {
            (0, 0) => {}
            (0, _) => tracing::warn!(
                "jobs: {blocked} job requests wait: another session holds the advisory locks of their keys (pg_locks names it)"
            ),
            (_, 0) => tracing::info!("jobs: no job request waits for a lock any more"),
            _ => {}
        }
    }
}

/// Whether an error is for what a row holds, and would come again with it: not for a right or a table that is missing, nor
/// for a database that is away.
fn is_of_its_row(error: &Error) -> bool {
    match error {
        Error::Invalid(_) | Error::BadRequest { .. } | Error::Conflict { .. } => true,
        Error::Internal(source) => source.is::<serde_json::Error>(),
        _ => false,
    }
}

/// Whether this process leads, until its transaction ends.
async fn lead(tx: &mut WorkerTx) -> Result<bool> {
    let leader = sqlx::query("SELECT FROM consumer_cursors WHERE consumer = '' FOR UPDATE SKIP LOCKED");
    if tx.fetch_optional(leader).await?.is_some() {
        return Ok(true);
    }
    // Another leads, or nobody ever has.
    let first = sqlx::query(
        "INSERT INTO consumer_cursors (consumer, transaction_id, event_id, system_identifier)
         SELECT '', 0, '00000000-0000-0000-0000-000000000000', ''
         WHERE NOT EXISTS (SELECT FROM consumer_cursors WHERE consumer = '')
         ON CONFLICT DO NOTHING",
    );
    Ok(tx.execute(first).await? > 0)
}

fn cause(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
