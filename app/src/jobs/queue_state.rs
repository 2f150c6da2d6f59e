//! The state of the queue, and the lag of consumers.

use std::ops::AddAssign;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

/// Prefix of `last_error` of a quarantined job.
pub(super) const QUARANTINED_PREFIX: &str = "quarantined: ";

/// The state of the queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueState {
    /// The lags of the consumers that run after the commit, by name.
    pub lags: Vec<Lag>,
    /// All jobs, including those of consumers.
    pub jobs: JobCounts,
    /// The oldest transaction that is still open. Events of later transactions are handed over only after its end.
    pub oldest: Option<OldestTransaction>,
}

/// The lag of a consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct Lag {
    /// The consumer's name.
    pub consumer: String,
    /// The number of events after the consumer's cursor, whether or not they are for it; at most 100,000.
    pub events: i64,
    /// When the oldest of these events was recorded; `None` if there is none.
    pub since: Option<DateTime<Utc>>,
    /// When the consumer's cursor last advanced.
    pub moved_at: DateTime<Utc>,
    /// The jobs with events that the consumer hasn't processed.
    pub jobs: JobCounts,
}

/// The number of jobs in each state. Each job is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
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

impl JobCounts {
    /// Returns each number with its name, for `/metrics` and the command line.
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

    /// Returns the number of jobs that are running or will run.
    pub fn unfinished(&self) -> i64 {
        self.due + self.scheduled + self.retrying + self.running + self.locked_by_dead_worker
    }
}

impl AddAssign for JobCounts {
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

/// An open transaction that delays the hand-over of later events.
#[derive(Debug, Clone, PartialEq)]
pub struct OldestTransaction {
    /// The process id of its PostgreSQL backend.
    pub pid: i32,
    /// Its database. A transaction in any database of the cluster delays the hand-over.
    pub database: Option<String>,
    /// How long it has been open, in seconds. It is a lower bound if the workers' role may not see when the transaction
    /// began.
    pub seconds: f64,
    /// The lower half of its transaction id. It shows whether two readings found the same transaction.
    pub transaction: Option<String>,
}

/// The state of the queue that was read last, for `/metrics` of a process with workers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LastQueueState(Arc<Mutex<Option<QueueState>>>);

impl LastQueueState {
    /// Returns the last state; `None` if this process doesn't read it.
    pub fn get(&self) -> Option<QueueState> {
        self.0.lock().clone()
    }

    pub(super) fn set(&self, state: QueueState) {
        *self.0.lock() = Some(state);
    }
}
