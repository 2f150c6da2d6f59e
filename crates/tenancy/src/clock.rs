//! The clock of the service: the only place of the service that asks the machine for the time. The libraries that know
//! nothing of it have a `machine_time.rs` of their own.
//!
//! A [`Clock`] gives the time of day ([`Clock::now`]) and a monotonic reading for durations and deadlines
//! ([`Clock::instant`]). It is given to the parts that need one: [`DatabaseOptions`](crate::DatabaseOptions) for what
//! runs in transactions and requests, and constructors of the service for credentials, run logs and the limits of
//! connections. Clippy refuses `Utc::now()`, `SystemTime::now()`, `Instant::now()` and `Instant::elapsed()` elsewhere
//! (`clippy.toml`), so that a test can move the time of all that it calls.
//!
//! **Invariant:** the monotonic reading never goes back, also when a test moves the clock back. So a deadline that has
//! passed stays passed, and no duration is negative.
//!
//! **What it doesn't govern:**
//!
//! - Times that a statement takes from PostgreSQL (`now()`): expiry of API keys and tickets, schedules, retention.
//! - Timers of tokio (`sleep`, `timeout`, `interval`): a task that sleeps isn't woken when a test moves the clock. It
//!   reads the clock when it wakes.
//! - The times of wide events and of lines in run logs, whose crates don't depend on Daybook.
//! - Ages that are compared with the clock of another program (`Clock::machine_instant`).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// The time of day, and a monotonic clock. If one clone is moved, all clones are.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Moves>);

/// How far a clock is ahead of the machine's, in microseconds. 0 except in tests.
#[derive(Debug, Default)]
struct Moves {
    /// The sum of all moves.
    time_of_day_us: AtomicI64,
    /// The sum of the moves forward, so that it never decreases.
    monotonic_us: AtomicI64,
}

impl Clock {
    /// Returns the machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Returns the time of day. A clock that was moved beyond what chrono can represent stays at the limit.
    pub fn now(&self) -> DateTime<Utc> {
        let ahead = TimeDelta::microseconds(self.0.time_of_day_us.load(Ordering::Relaxed));
        let limit = match ahead < TimeDelta::zero() {
            true => DateTime::<Utc>::MIN_UTC,
            false => DateTime::<Utc>::MAX_UTC,
        };
        machine_time().checked_add_signed(ahead).unwrap_or(limit)
    }

    /// Returns a reading of the monotonic clock, for durations and deadlines. It is comparable with other readings of
    /// this clock only: `Instant::elapsed` compares with the machine's.
    pub fn instant(&self) -> Instant {
        let ahead_us = self.0.monotonic_us.load(Ordering::Relaxed);
        Self::machine_instant() + Duration::from_micros(ahead_us.unsigned_abs())
    }

    /// Returns the time since a reading of this clock; zero for one in the future.
    pub fn elapsed_since(&self, reading: Instant) -> Duration {
        self.instant().saturating_duration_since(reading)
    }

    /// Returns the time until a deadline of this clock; zero if it has passed.
    pub fn left_until(&self, deadline: Instant) -> Duration {
        deadline.saturating_duration_since(self.instant())
    }

    /// Waits until a deadline of this clock; returns at once if it has passed. A move of the clock doesn't wake a task
    /// that is already waiting.
    pub async fn sleep_until(&self, deadline: Instant) {
        loop {
            match self.left_until(deadline) {
                // Returns at the first poll: a task that starts to wait again and again still notices the deadline.
                Duration::ZERO => return,
                left => tokio::time::sleep(left).await,
            }
        }
    }

    /// Moves this clock and its clones forward, or back with a negative time. For tests.
    ///
    /// The monotonic reading only moves forward, as on a machine whose time of day is set: a negative time leaves it as
    /// it is. All moves together reach at most 292,000 years.
    pub fn advance(&self, by: TimeDelta) {
        let limit_us = if by < TimeDelta::zero() { i64::MIN } else { i64::MAX };
        let by_us = by.num_microseconds().unwrap_or(limit_us);
        add_saturating(&self.0.time_of_day_us, by_us);
        add_saturating(&self.0.monotonic_us, by_us.max(0));
    }

    /// Returns a reading of the machine's monotonic clock, which no test moves. It is for an age that is compared with
    /// the clock of another program, which isn't moved either: [`Clock::instant`] is for everything else.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    pub fn machine_instant() -> Instant {
        Instant::now()
    }
}

fn add_saturating(sum: &AtomicI64, more: i64) {
    // The closure never refuses, so there is no failure to report.
    let _ = sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
        Some(sum.saturating_add(more))
    });
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
fn machine_time() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn clones_are_moved_together() {
        let clock = Clock::system();
        let clone = clock.clone();
        let (before, instant_before) = (clone.now(), clone.instant());
        clock.advance(TimeDelta::hours(2));
        assert!(clone.now() - before >= TimeDelta::hours(2));
        assert!(clone.elapsed_since(instant_before) >= Duration::from_secs(2 * 3_600));
        clone.advance(-TimeDelta::hours(3));
        assert!(clock.now() < before);
        assert!(Clock::system().now() >= before, "others are not moved");
        assert!(clock.instant() > Clock::system().instant() + Duration::from_secs(3_600));
    }

    #[test]
    fn the_monotonic_reading_never_goes_back() {
        let clock = Clock::system();
        let mut last = clock.instant();
        for minutes in [5, -60, 0, 1, -1, i64::MIN / 60_000, 1] {
            clock.advance(TimeDelta::minutes(minutes));
            let reading = clock.instant();
            assert!(reading >= last, "moved by {minutes} minutes");
            last = reading;
        }
        assert!(
            last >= Clock::system().instant() + Duration::from_secs(6 * 60),
            "only moves forward count"
        );
    }

    #[test]
    fn a_deadline_is_reached_by_moving_the_clock() {
        let clock = Clock::system();
        let deadline = clock.instant() + Duration::from_secs(60);
        assert!(clock.left_until(deadline) > Duration::from_secs(50));
        clock.advance(TimeDelta::minutes(2));
        assert_eq!(clock.left_until(deadline), Duration::ZERO);
        assert!(clock.elapsed_since(deadline) >= Duration::from_secs(60));
        assert_eq!(
            clock.elapsed_since(clock.instant() + Duration::from_secs(60)),
            Duration::ZERO
        );
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_is_not_waited_for() {
        let clock = Clock::system();
        let deadline = clock.instant() + Duration::from_secs(3_600);
        assert_eq!(clock.sleep_until(deadline).now_or_never(), None);
        clock.advance(TimeDelta::hours(1));
        assert_eq!(clock.sleep_until(deadline).now_or_never(), Some(()));
        let soon = clock.instant() + Duration::from_millis(2);
        clock.sleep_until(soon).await;
        assert!(clock.instant() >= soon);
    }

    #[test]
    fn a_clock_beyond_the_calendar_stays_at_its_end() {
        let clock = Clock::system();
        for _ in 0..3 {
            clock.advance(TimeDelta::MAX);
            assert_eq!(clock.now(), DateTime::<Utc>::MAX_UTC);
        }
        let before = clock.instant();
        clock.advance(TimeDelta::MAX);
        assert!(clock.instant() >= before);
        clock.advance(TimeDelta::MIN);
        clock.advance(TimeDelta::MIN);
        assert_eq!(clock.now(), DateTime::<Utc>::MIN_UTC);
    }
}
