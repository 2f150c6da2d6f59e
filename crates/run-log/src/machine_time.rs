//! The machine's clocks. The rest of the crate takes its times from here.

#![expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]

use std::time::Instant;

use chrono::{DateTime, Utc};

/// Returns the time of day.
pub(super) fn time_of_day() -> DateTime<Utc> {
    Utc::now()
}

/// Returns a reading of the monotonic clock.
pub(super) fn instant() -> Instant {
    Instant::now()
}
