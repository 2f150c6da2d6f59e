//! What became of connections, for `/metrics` and, at most once a second, for stderr.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
/// How often the same trouble is logged at most.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// How many connections there are, and what became of others since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Open now, WebSockets among them.
    pub open: usize,
    /// Open now, and none of their requests has entered a team.
    pub unauthenticated: usize,
    /// How many there may be.
    pub limit: usize,
    /// Refused because there were as many as there may be.
    pub refused: u64,
    /// Closed to make room for newer ones.
    pub closed_for_room: u64,
    /// Closed because their client took too long: to send a request, or to take an answer.
    pub timed_out: u64,
    /// Attempts to accept one that failed, as when the process has no descriptor left.
    pub accept_errors: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    refused: AtomicU64,
    closed_for_room: AtomicU64,
    timed_out: AtomicU64,
    accept_errors: AtomicU64,
    refused_logged: Throttle,
    errors_logged: Throttle,
}

impl Counts {
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
        if let Some(times) = self.refused_logged.pass() {
            tracing::warn!("connections refused: {times} in the last second; DAYBOOK_CONNECTIONS={limit} is the limit");
        }
    }

    pub(super) fn accept_failed(&self, error: &std::io::Error) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
        if let Some(times) = self.errors_logged.pass() {
            tracing::error!(
                "connections could not be accepted ({times} attempts): {error}; raise the limit of open files or lower \
                 DAYBOOK_CONNECTIONS"
            );
        }
    }
}

/// Lets a line pass once in a [`LOG_INTERVAL`], with the number of those that it stands for.
#[derive(Debug, Default)]
struct Throttle(Mutex<(Option<Instant>, u64)>);

impl Throttle {
    fn pass(&self) -> Option<u64> {
        let mut state = self.0.lock();
        let (last, waiting) = &mut *state;
        *waiting += 1;
        if last.is_some_and(|last| last.elapsed() < LOG_INTERVAL) {
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line() {
        let throttle = Throttle::default();
        assert_eq!(throttle.pass(), Some(1));
        assert!((0..1_000).all(|_| throttle.pass().is_none()));
        throttle.0.lock().0 = Instant::now().checked_sub(LOG_INTERVAL);
        assert_eq!(throttle.pass(), Some(1_001));
    }
}
