//! Hands over what has committed to the queue: jobs that transactions enqueued, and events for durable consumers.
//!
//! One process at a time does this: the leader, which has locked the leader's row of `consumer_cursors`. A pass hands
//! over one batch and advances the cursors in the same transaction, so that nothing is handed over twice and nothing is
//! left out. Signals wake the relay. Since a signal may be lost, it also polls, every second by default.
//!
//! **Invariant:** the relay sees *that* something happened in a team, never what: an event's contents are read by its
//! consumer, under the team's own policy.

mod cursor;
mod events;
mod requests;

pub(super) use self::cursor::lags;

use std::time::Duration;

use self::requests::{RequestId, Scan};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::events::{ConsumerDef, EventsParts};
use crate::jobs::notifier::Notifier;
use crate::jobs::parts::JobsParts;
use crate::tenancy::{Database, WorkerDatabase, WorkerTx};

/// The first pause after work or a signal. A signal may come before its transaction is visible to the relay.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long [`Relay::begin`] waits for another leader before it assumes that the leader has created the cursors.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum number of requests that are read in one transaction.
const BATCH: i64 = 1_000;

/// Hands over jobs and events until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    workers: WorkerDatabase,
    clock: Clock,
    durable: Vec<&'static ConsumerDef>,
    notifier: Notifier,
    poll: Duration,
    /// The place in the requests at which the next batch begins.
    scan: Scan,
    /// Whether requests wait for the locks of their keys.
    is_blocked: bool,
}

/// The result of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Another process is the leader.
    NotLeader,
    /// There may be more to hand over.
    More,
    /// Everything that was visible is handed over, except for requests with locked keys.
    Idle,
}

impl Relay {
    pub(super) fn new(database: &Database, workers: &WorkerDatabase, poll: Duration) -> Result<Self> {
        Ok(Self {
            workers: workers.clone(),
            clock: database.clock().clone(),
            durable: EventsParts::of(database)?.consumers.durable().collect(),
            notifier: JobsParts::of(database)?.notifier.clone(),
            poll,
            scan: Scan::default(),
            is_blocked: false,
        })
    }

    /// Creates the cursor of every durable consumer that has none, or waits until the leader has done so.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database can't be reached. After any other error, this tries again until
    /// [`BEGIN_TIMEOUT`].
    pub(super) async fn begin(&mut self) -> Result<()> {
        let began = self.clock.instant();
        while self.clock.elapsed_since(began) < BEGIN_TIMEOUT {
            match self.pass().await {
                Ok(Pass::More | Pass::Idle) => break,
                Ok(Pass::NotLeader) => {}
                Err(error) if error.is_stale_plan() => {}
                Err(error @ Error::Unavailable { .. }) => return Err(error),
                Err(error) => self.recover(&error).await,
            }
            tokio::time::sleep(MIN_POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Hands over jobs and events, for ever.
    pub(super) async fn run(mut self) {
        let mut pause = self.poll;
        loop {
            match self.pass().await {
                Ok(Pass::More) => {
                    pause = MIN_POLL_INTERVAL;
                    continue;
                }
                Ok(Pass::Idle | Pass::NotLeader) => {}
                // A table has changed. The next pass uses other connections.
                Err(error) if error.is_stale_plan() => pause = MIN_POLL_INTERVAL,
                Err(error) => self.recover(&error).await,
            }
            tokio::select! {
                () = self.notifier.work() => pause = MIN_POLL_INTERVAL,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(self.poll),
            }
        }
    }

    /// Handles a failed pass: hands over its requests one by one, since the failure of one must not stop the others.
    async fn recover(&mut self, error: &Error) {
        tracing::warn!(
            "jobs: relay: handing over a batch failed, so its job requests are tried one by one: {}",
            cause(error)
        );
        if let Err(error) = self.one_by_one().await {
            tracing::warn!(
                "jobs: relay: handing over jobs one by one failed too: {}",
                cause(&error)
            );
        }
    }

    /// Hands over the requests of the next batch, each in a transaction of its own. Refuses those that fail because of
    /// what is in their row.
    async fn one_by_one(&mut self) -> Result<()> {
        let mut tx = self.workers.begin().await?;
        let requests = requests::next(&mut tx, &self.scan, BATCH).await?;
        tx.commit().await?;
        for request in &requests {
            if !self.hand_over_one(*request).await? {
                return Ok(());
            }
        }
        self.scan.restart_if_due(is_partial(requests.len()));
        Ok(())
    }

    /// Hands over one request, or marks it as refused. Returns false if another process is the leader.
    async fn hand_over_one(&mut self, request: RequestId) -> Result<bool> {
        let mut tx = self.workers.begin().await?;
        if !take_leadership(&mut tx).await? {
            return Ok(false);
        }
        tx.execute(sqlx::query("SAVEPOINT one")).await?;
        match requests::hand_over_one(&mut tx, &self.scan, request).await {
            Ok(batch) => {
                tx.commit().await?;
                self.scan.advance(batch);
            }
            Err(error) if is_of_its_row(&error) => {
                tracing::error!("jobs: relay: job request {request} is refused: {}", cause(&error));
                tx.execute(sqlx::query("ROLLBACK TO SAVEPOINT one")).await?;
                requests::refuse(&mut tx, request, &cause(&error)).await?;
                tx.commit().await?;
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Hands over one batch of requests and of events.
    async fn pass(&mut self) -> Result<Pass> {
        let mut tx = self.workers.begin().await?;
        if !take_leadership(&mut tx).await? {
            return Ok(Pass::NotLeader);
        }
        let batch = requests::hand_over_next(&mut tx, &self.scan, BATCH).await?;
        let events = events::hand_over(&mut tx, &self.durable).await?;
        tx.commit().await?;
        let is_at_end = is_partial(batch.read);
        let pass = match batch.done + events > 0 || !is_at_end {
            true => Pass::More,
            false => Pass::Idle,
        };
        self.scan.advance(batch);
        self.log_locked_keys(is_at_end);
        self.scan.restart_if_due(is_at_end);
        Ok(pass)
    }

    /// Logs when requests begin to wait for a lock, and when the last one has stopped waiting.
    fn log_locked_keys(&mut self, is_at_end: bool) {
        let left = self.scan.left();
        if left > 0 && !self.is_blocked {
            tracing::warn!(
                "jobs: relay: {left} job requests wait: another session holds the advisory locks of their keys (pg_locks \
                 shows which)"
            );
            self.is_blocked = true;
        } else if left == 0 && is_at_end && self.is_blocked {
            tracing::info!("jobs: relay: no job request waits for a lock");
            self.is_blocked = false;
        }
    }
}

/// Returns whether a batch is the last one of a scan, because it read fewer than [`BATCH`] requests.
fn is_partial(read: impl TryInto<i64>) -> bool {
    read.try_into().is_ok_and(|read| read < BATCH)
}

/// Returns whether an error is caused by the content of a row, so that the next attempt would fail in the same way. A
/// missing right, a missing table or an unreachable database is another kind of error.
fn is_of_its_row(error: &Error) -> bool {
    match error {
        Error::Invalid(_) | Error::BadRequest { .. } | Error::Conflict { .. } => true,
        Error::Internal(source) => source.is::<serde_json::Error>(),
        _ => false,
    }
}

/// Makes this process the leader until the transaction ends. Returns false if another process is.
async fn take_leadership(tx: &mut WorkerTx) -> Result<bool> {
    let leader = sqlx::query("SELECT FROM consumer_cursors WHERE consumer = '' FOR UPDATE SKIP LOCKED");
    if tx.fetch_optional(leader).await?.is_some() {
        return Ok(true);
    }
    // Another process is the leader, or the row does not exist yet.
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
