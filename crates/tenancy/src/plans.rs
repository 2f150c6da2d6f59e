//! Discards connections with plans of prepared statements that a change of a table has made invalid.
//!
//! A connection keeps the plans of its statements. After the type of a column was changed, or a column was added to a
//! table of which all columns are read, PostgreSQL refuses the kept plan: "cached plan must not change result type". It
//! refuses it as long as the connection is open, so the connection must be closed. All connections that were opened
//! before the change have the same problem. So the first refusal closes them all, each when it is next taken from its
//! pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;

use crate::clock::Clock;

/// The time of the last refused plan of a pool. Connections that were opened before it may have invalid plans. Clones
/// share this time.
#[derive(Debug, Clone)]
pub(super) struct Plans {
    /// A reading of the machine's clock, which no test moves: sqlx measures the age of connections with it.
    began: Instant,
    /// The time of the last refusal, in microseconds since `began`; 0 as long as no plan was refused.
    invalid_until_us: Arc<AtomicU64>,
}

impl Default for Plans {
    fn default() -> Self {
        Self {
            began: Clock::machine_instant(),
            invalid_until_us: Arc::default(),
        }
    }
}

impl Plans {
    /// Closes the connections that are open at this time, each when it is next taken from the pool.
    pub(super) fn discard(&self) {
        self.invalid_until_us
            .fetch_max(micros(self.age()).max(1), Ordering::Relaxed);
    }

    /// Configures a pool to close the discarded connections.
    pub(super) fn watch(&self, options: PgPoolOptions) -> PgPoolOptions {
        let plans = self.clone();
        options.before_acquire(move |_, connection| {
            let valid = plans.are_valid(connection.age);
            Box::pin(async move { Ok(valid) })
        })
    }

    fn age(&self) -> Duration {
        Clock::machine_instant().duration_since(self.began)
    }

    /// Returns whether a connection of this age was opened after the last refusal.
    fn are_valid(&self, age: Duration) -> bool {
        let invalid_until_us = self.invalid_until_us.load(Ordering::Relaxed);
        if invalid_until_us == 0 {
            return true;
        }
        // `None` for a connection that was opened before `began`.
        let opened = self.age().checked_sub(age);
        opened.is_some_and(|opened| micros(opened) > invalid_until_us)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_older_than_a_refusal_are_closed_and_no_others() {
        let plans = Plans {
            began: Clock::machine_instant().checked_sub(Duration::from_secs(100)).unwrap(),
            invalid_until_us: Arc::default(),
        };
        assert!(plans.are_valid(Duration::from_secs(1_000)), "nothing was refused");
        plans.discard();
        assert!(!plans.are_valid(Duration::from_secs(1)));
        assert!(
            !plans.are_valid(Duration::from_secs(1_000)),
            "opened before the pool was watched"
        );
        let opened = Clock::machine_instant();
        while Clock::machine_instant() - opened < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
        assert!(plans.are_valid(Duration::ZERO));
    }
}
