//! What a transaction cost, counted where the statements pass.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters of one transaction, or of all of a [`Database`](super::Database)'s.
#[derive(Debug, Default)]
pub struct Stats {
    round_trips: AtomicU64,
    database_us: AtomicU64,
}

impl Stats {
    /// Messages sent to the database and waited for: each statement, and each entry and commit, is one.
    ///
    /// The first time a connection meets a statement, PostgreSQL parses it in a round trip of its own, which
    /// is not counted: it happens once a connection.
    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Time spent waiting for the database.
    pub fn database_time(&self) -> Duration {
        Duration::from_micros(self.database_us.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, waited: Duration) {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.database_us.fetch_add(waited_us, Ordering::Relaxed);
    }
}
