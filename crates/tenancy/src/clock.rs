//! The wall clock of the service: the only place that asks the machine for the time of day.
//!
//! A [`Clock`] is given to the parts that need one: [`DatabaseOptions`](crate::DatabaseOptions) for what runs in
//! transactions and requests, the service's authenticator for credentials. Clippy refuses
//! `Utc::now()` and `SystemTime::now()` elsewhere (`clippy.toml`), so that a test can move the time of all that it calls.
//!
//! **What it doesn't govern.** Times that a statement takes from PostgreSQL (`now()`): expiry of API keys and tickets,
//! schedules, retention. Durations, which come from the monotonic clock (`Instant`). The times of wide events and of
//! lines in run logs, whose modules know nothing of Daybook's slices.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// The time of day. Clones share it: if one is moved, all are.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// How far it is ahead of the machine's clock, in microseconds. 0 except in tests.
    ahead_us: Arc<AtomicI64>,
}

impl Clock {
    /// Returns the machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Returns the present instant. A clock that was moved beyond what chrono can represent stays at the limit.
    pub fn now(&self) -> DateTime<Utc> {
        let ahead = TimeDelta::microseconds(self.ahead_us.load(Ordering::Relaxed));
        let limit = match ahead < TimeDelta::zero() {
            true => DateTime::<Utc>::MIN_UTC,
            false => DateTime::<Utc>::MAX_UTC,
        };
        machine_time().checked_add_signed(ahead).unwrap_or(limit)
    }

    /// Moves this clock and its clones forward, or back with a negative time. For tests.
    pub fn advance(&self, by: TimeDelta) {
        let by_us = by.num_microseconds().unwrap_or(i64::MAX);
        self.ahead_us.fetch_add(by_us, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
fn machine_time() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_moved_together() {
        let clock = Clock::system();
        let clone = clock.clone();
        let before = clone.now();
        clock.advance(TimeDelta::hours(2));
        assert!(clone.now() - before >= TimeDelta::hours(2));
        clone.advance(-TimeDelta::hours(3));
        assert!(clock.now() < before);
        assert!(Clock::system().now() >= before, "others are not moved");
    }

    #[test]
    fn a_clock_beyond_the_calendar_stays_at_its_end() {
        let clock = Clock::system();
        clock.advance(TimeDelta::MAX);
        assert_eq!(clock.now(), DateTime::<Utc>::MAX_UTC);
    }
}
