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

use std::time::Duration;

use crate::error::Result;
use crate::events::{ConsumerDef, Consumers};
use crate::tenancy::{Bell, Database, WorkerDatabase, WorkerTx};

/// After a hint that led to nothing: what was hinted at may be in a transaction that can't be seen past yet.
const AGAIN: Duration = Duration::from_millis(20);

/// Hands over, until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    workers: WorkerDatabase,
    durable: Vec<&'static ConsumerDef>,
    bell: Bell,
    poll: Duration,
}

impl Relay {
    pub(super) fn new(database: &Database, workers: &WorkerDatabase, poll: Duration) -> Self {
        let consumers = database.extension::<Consumers>();
        Self {
            workers: workers.clone(),
            durable: consumers.map_or_else(Vec::new, |consumers| consumers.durable().collect()),
            bell: database.extension::<Bell>().cloned().unwrap_or_default(),
            poll,
        }
    }

    pub(super) async fn run(self) {
        let mut pause = self.poll;
        loop {
            match self.pass().await {
                // There may be more.
                Ok(handed) if handed > 0 => {
                    pause = AGAIN;
                    continue;
                }
                Ok(_) => {}
                Err(error) => tracing::warn!("jobs: nothing could be handed over: {}", cause(&error)),
            }
            tokio::select! {
                () = self.bell.rung() => pause = AGAIN,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(self.poll),
            }
        }
    }

    /// Returns how much was handed over: nothing while another process leads.
    pub(super) async fn pass(&self) -> Result<u64> {
        let mut tx = self.workers.begin().await?;
        if !lead(&mut tx).await? {
            return Ok(0);
        }
        let asked = requests::hand_over(&mut tx).await?;
        let events = events::hand_over(&mut tx, &self.durable).await?;
        tx.commit().await?;
        Ok(asked + events)
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

fn cause(error: &crate::error::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
