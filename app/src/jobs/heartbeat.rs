//! The heartbeat interval of sessions.

use std::time::Duration;

/// The heartbeat interval of sessions.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat(pub Duration);

impl Heartbeat {
    /// Returns an interval with several heartbeats within the time after which a session counts as lost.
    pub fn within(lost_after: Duration) -> Self {
        Self(lost_after / 4)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}
