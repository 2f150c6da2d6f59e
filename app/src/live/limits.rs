//! Limits for the frames of a client.

use std::time::{Duration, Instant};

/// Number of frames that a client may send at once, as a page does when it opens.
const MAX_BURST_FRAMES: u32 = 200;
/// After a burst, one more frame is allowed for each interval.
const REFILL_INTERVAL: Duration = Duration::from_millis(50);

/// Maximum size of a client's message, in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// Maximum number of topics that one socket may follow.
pub(super) const MAX_TOPICS: usize = 500;

/// Limits the rate of a client's frames: a token bucket.
#[derive(Debug)]
pub(super) struct TokenBucket {
    left: u32,
    refilled_at: Instant,
}

impl TokenBucket {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: MAX_BURST_FRAMES,
            refilled_at: now,
        }
    }

    /// Takes a token. Returns whether there was one, that is, whether the frame is allowed.
    pub(super) fn try_take(&mut self, now: Instant) -> bool {
        let more = now.duration_since(self.refilled_at).as_millis() / REFILL_INTERVAL.as_millis();
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(MAX_BURST_FRAMES);
            self.refilled_at = now;
        }
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_burst_is_allowed_and_a_flood_is_not() {
        let now = Clock::system().instant();
        let mut bucket = TokenBucket::new(now);
        assert!((0..MAX_BURST_FRAMES).all(|_| bucket.try_take(now)));
        assert!(!bucket.try_take(now));
        let later = now + REFILL_INTERVAL * 2;
        assert!(bucket.try_take(later) && bucket.try_take(later) && !bucket.try_take(later));
        // A client that was silent for long may send no more than a burst.
        let much_later = later + REFILL_INTERVAL * MAX_BURST_FRAMES * 10;
        assert!((0..MAX_BURST_FRAMES).all(|_| bucket.try_take(much_later)));
        assert!(!bucket.try_take(much_later));
    }
}
