//! The heartbeat interval of sessions.

use std::time::Duration;

/// The heartbeat interval of sessions.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat(pub Duration);

impl Heartbeat {
    /// Returns a quarter of `lost_after`, so that a session counts as lost only after it has missed several heartbeats.
    pub fn within(lost_after: Duration) -> Self {
        Self(lost_after / 4)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One heartbeat may be late, or its statement may fail.
    #[test]
    fn several_heartbeats_are_sent_before_a_session_counts_as_lost() {
        for lost_after in [Duration::from_secs(2), Duration::from_secs(60)] {
            assert!(Heartbeat::within(lost_after).0 * 3 < lost_after, "{lost_after:?}");
        }
    }
}
