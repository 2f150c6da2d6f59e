//! From what has committed to the queue: the jobs that transactions asked for.
//!
//! One process at a time does it, whoever holds the row `job_requests` of `consumer_cursors`. A pass is one transaction
//! with its cursors, so that nothing is handed over twice and nothing is left out. It is woken by hints, and looks by
//! itself every second, since hints may be lost.

mod requests;

use std::time::Duration;

use crate::error::Result;
use crate::tenancy::{Bell, Database, WorkerDatabase};

/// After a hint that led to nothing: what was hinted at may be in a transaction that this process can't see yet.
const AGAIN: Duration = Duration::from_millis(20);

/// What a pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Another process is at it.
    Taken,
    /// So many were handed over.
    Handed(u64),
}

/// Hands over, until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    workers: WorkerDatabase,
    bell: Bell,
    poll: Duration,
}

impl Relay {
    pub(super) fn new(database: &Database, workers: &WorkerDatabase, poll: Duration) -> Self {
        Self {
            workers: workers.clone(),
            bell: database.extension::<Bell>().cloned().unwrap_or_default(),
            poll,
        }
    }

    pub(super) async fn run(self) {
        let mut pause = self.poll;
        loop {
            match self.pass().await {
                // There may be more.
                Ok(Pass::Handed(handed)) if handed > 0 => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!("jobs: nothing could be handed over: {}", cause(&error)),
            }
            tokio::select! {
                () = self.bell.rung() => pause = AGAIN,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(self.poll),
            }
        }
    }

    async fn pass(&self) -> Result<Pass> {
        let mut tx = self.workers.pool().begin().await?;
        if !requests::lead(&mut tx).await? {
            tx.rollback().await?;
            return Ok(Pass::Taken);
        }
        let handed = requests::hand_over(&mut tx).await?;
        tx.commit().await?;
        Ok(Pass::Handed(handed))
    }
}

fn cause(error: &crate::error::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
