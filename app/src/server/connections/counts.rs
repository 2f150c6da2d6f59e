//! Statistics about connections, for `/metrics` and, at most once a second, for stderr.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::Clock;

/// Minimum interval between two log lines about the same problem.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The number of open connections, and totals since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Open now, including WebSockets.
    pub open: usize,
    /// Open now, while none of their requests has entered a team.
    pub unauthenticated: usize,
    /// Maximum number of connections.
    pub limit: usize,
    /// Refused because the maximum was reached.
    pub refused: u64,
    /// Closed to make room for newer ones.
    pub closed_for_room: u64,
    /// Closed because their client took too long to send a request, or to read a response.
    pub timed_out: u64,
    /// Failed attempts to accept a connection, for example because the process has no descriptor left.
    pub accept_errors: u64,
}

#[derive(Debug)]
pub(super) struct Counts {
    clock: Clock,
    refused: AtomicU64,
    closed_for_room: AtomicU64,
    timed_out: AtomicU64,
    accept_errors: AtomicU64,
    refused_logged: Throttle,
    errors_logged: Throttle,
}

impl Counts {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            refused: AtomicU64::default(),
            closed_for_room: AtomicU64::default(),
            timed_out: AtomicU64::default(),
            accept_errors: AtomicU64::default(),
            refused_logged: Throttle::default(),
            errors_logged: Throttle::default(),
        }
    }

    pub(super) fn read(&self, open: usize, unauthenticated: usize, limit: usize) -> ConnectionCounts {
        ConnectionCounts {
            open,
            unauthenticated,
            limit,
            refused: self.refused.load(Ordering::Relaxed),
            closed_for_room: self.closed_for_room.load(Ordering::Relaxed),
            timed_out: self.timed_out.load(Ordering::Relaxed),
            accept_errors: self.accept_errors.load(Ordering::Relaxed),
        }
    }

    pub(super) fn closed_for_room(&self) {
        self.closed_for_room.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn timed_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, limit: usize) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(times) = self.refused_logged.pass(self.clock.instant()) {
            tracing::warn!("connections refused: {times} in the last second; DAYBOOK_CONNECTIONS={limit} is the limit");
        }
    }

    pub(super) fn accept_failed(&self, error: &std::io::Error) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
        if let Some(times) = self.errors_logged.pass(self.clock.instant()) {
            tracing::error!(
                "connections could not be accepted ({times} attempts): {error}; raise the limit of open files or lower \
                 DAYBOOK_CONNECTIONS"
            );
        }
    }
}

/// Lets one log line pass per [`LOG_INTERVAL`], with the number of lines that it represents.
#[derive(Debug, Default)]
struct Throttle(Mutex<(Option<Instant>, u64)>);

impl Throttle {
    fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let (last, waiting) = &mut *state;
        *waiting += 1;
        if last.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_events_are_one_log_line() {
        let throttle = Throttle::default();
        let now = Clock::system().instant();
        assert_eq!(throttle.pass(now), Some(1));
        assert!((0..1_000).all(|_| throttle.pass(now).is_none()));
        assert_eq!(throttle.pass(now + LOG_INTERVAL), Some(1_001));
    }
}
