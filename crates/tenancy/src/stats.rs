//! Counts the round trips and the time of a transaction, where its statements are sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counters of one transaction, or of all transactions of a [`Database`](super::Database).
#[derive(Debug, Default)]
pub struct Stats {
    round_trips: AtomicU64,
    database_us: AtomicU64,
}

impl Stats {
    /// Returns the number of messages to the database whose answer was waited for. Each statement, each entry and each
    /// commit is one.
    ///
    /// When a connection runs a statement for the first time, PostgreSQL parses it in an additional round trip. That is
    /// not counted, because it happens once per connection.
    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Returns the time spent waiting for the database.
    pub fn database_time(&self) -> Duration {
        Duration::from_micros(self.database_us.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, waited: Duration) {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.database_us.fetch_add(waited_us, Ordering::Relaxed);
    }
}
