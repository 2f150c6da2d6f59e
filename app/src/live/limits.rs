//! What a client may say.

use std::time::Duration;

use tokio::time::Instant;

/// Frames that a client may send at once, as a page does that opens.
const BURST: u32 = 200;
/// After that, one in so long.
const EACH: Duration = Duration::from_millis(50);

/// The largest message that a client may send, in bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// Topics that one socket may follow.
pub(super) const MAX_TOPICS: usize = 500;

/// Counts what a client says: a token bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    left: u32,
    refilled_at: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            refilled_at: now,
        }
    }

    /// Whether one more is in order.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let more = now.duration_since(self.refilled_at).as_millis() / EACH.as_millis();
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
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

    #[test]
    fn a_burst_is_in_order_and_a_flood_is_not() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        assert!((0..BURST).all(|_| bucket.take(now)));
        assert!(!bucket.take(now));
        let later = now + EACH * 2;
        assert!(bucket.take(later) && bucket.take(later) && !bucket.take(later));
        // Who was silent for long gains no more than a burst.
        let much_later = later + EACH * BURST * 10;
        assert!((0..BURST).all(|_| bucket.take(much_later)));
        assert!(!bucket.take(much_later));
    }
}
