//! A run whose log this process writes or tries to acquire.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daybook_run_log::{IncomingLine, LogError, Opened};
use parking_lot::Mutex;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::node_lease::NodeLease;
use super::open_log::OpenLog;
use crate::runs::incoming::SERVICE_SOURCE;
use crate::runs::status::RunStatus;
use crate::runs::store::Lease;

/// A run whose log this process writes or tries to acquire.
#[derive(Debug, Default)]
pub(super) struct Slot {
    open: tokio::sync::Mutex<Option<OpenLog>>,
    /// Held while a run is ended, so that only one call at a time ends it.
    pub(super) ending: tokio::sync::Mutex<()>,
    state: Mutex<SlotState>,
    /// The number of lines that were refused because the log could not be written. Lines of writers that number them
    /// are not counted.
    refused: AtomicU64,
    degraded: AtomicBool,
}

#[derive(Debug, Default)]
struct SlotState {
    status: Option<RunStatus>,
    last_activity: Option<Instant>,
    /// When the writer last contacted this process. Acquiring the log does not count.
    last_writer_activity: Option<Instant>,
    lost_after: Duration,
    durable_bytes: Option<u64>,
}

impl Slot {
    pub(super) async fn open(&self) -> tokio::sync::MutexGuard<'_, Option<OpenLog>> {
        self.open.lock().await
    }

    /// Releases the log, unless a task is using or acquiring it.
    pub(super) fn release(&self) {
        if let Ok(mut open) = self.open.try_lock() {
            *open = None;
        }
    }

    pub(super) fn acquired(&self, lease: &Lease, now: Instant) {
        let mut state = self.state.lock();
        state.status = Some(lease.status);
        state.lost_after = lease.lost_after;
        state.last_activity = Some(now);
    }

    pub(super) fn record_activity(&self, now: Instant) {
        let mut state = self.state.lock();
        state.last_activity = Some(now);
        state.last_writer_activity = state.last_activity;
    }

    /// Returns whether this process has received something from the run's writer recently. The database may not know
    /// that.
    pub(super) fn has_writer(&self, now: Instant) -> bool {
        let state = self.state.lock();
        state
            .last_writer_activity
            .is_some_and(|at| now.duration_since(at) <= state.lost_after)
    }

    pub(super) fn set_status(&self, status: RunStatus) {
        self.state.lock().status = Some(status);
    }

    /// Records the number of durable bytes of a log that was released.
    pub(super) fn note_durable_bytes(&self, bytes: u64) {
        let mut state = self.state.lock();
        state.durable_bytes = state.durable_bytes.max(Some(bytes));
    }

    pub(super) fn durable_bytes(&self) -> Option<u64> {
        self.state.lock().durable_bytes
    }

    pub(super) fn count_refused(&self, lines: usize) {
        self.refused.fetch_add(lines as u64, Ordering::Relaxed);
    }

    /// Marks the run as degraded. Returns false if it was degraded before.
    pub(super) fn mark_degraded(&self) -> bool {
        !self.degraded.swap(true, Ordering::Relaxed)
    }

    /// Returns how long the writer has been silent, if that is longer than the run allows.
    pub(super) fn silence(&self, now: Instant) -> Option<Duration> {
        let state = self.state.lock();
        let live = matches!(state.status, Some(RunStatus::Building | RunStatus::Running));
        let silent = now.duration_since(state.last_activity?);
        (live && silent > state.lost_after).then_some(silent)
    }

    /// Appends the service's own lines after a log was acquired. They say that the run begins, that a torn end was
    /// truncated, or that lines are missing.
    pub(super) async fn append_opening_lines(
        &self,
        node_lease: &NodeLease,
        opened: &Opened,
        lease: &Lease,
    ) -> Result<(), LogError> {
        let node = node_lease.node();
        let log = &opened.log;
        let empty = log.durable().borrow().sequence == 0;
        if empty {
            node.append_own(log, IncomingLine::new("run.queued", None), SERVICE_SOURCE)
                .await?;
            if lease.status == RunStatus::Running {
                node.append_own(log, IncomingLine::new("run.started", None), SERVICE_SOURCE)
                    .await?;
            }
        }
        if opened.cut_bytes > 0 {
            let payload = raw_json(&json!({"cut_bytes": opened.cut_bytes}));
            node.append_own(log, IncomingLine::new("log.recovered", Some(&payload)), SERVICE_SOURCE)
                .await?;
        }
        let refused = self.refused.load(Ordering::Relaxed);
        if refused > 0 {
            let reason = "these lines were refused while the log could not be written";
            let payload = raw_json(&json!({"count": refused, "reason": reason}));
            node.append_own(log, IncomingLine::new("log.gap", Some(&payload)), SERVICE_SOURCE)
                .await?;
            self.refused.fetch_sub(refused, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Serializes a payload.
pub(super) fn raw_json(value: &serde_json::Value) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const LOST_AFTER: Duration = Duration::from_secs(60);
    const MOMENT: Duration = Duration::from_millis(1);

    fn lease(status: RunStatus) -> Lease {
        Lease {
            epoch: 1,
            configuration_id: None,
            status,
            lost_after: LOST_AFTER,
        }
    }

    #[test]
    fn a_writer_is_silent_after_the_limit_and_not_before() {
        let now = Clock::system().instant();
        for status in [RunStatus::Building, RunStatus::Running] {
            let slot = Slot::default();
            slot.acquired(&lease(status), now);
            assert_eq!(slot.silence(now + LOST_AFTER), None);
            let silent = LOST_AFTER + MOMENT;
            assert_eq!(slot.silence(now + silent), Some(silent));
            // A line of the writer ends the silence.
            slot.record_activity(now + silent);
            assert_eq!(slot.silence(now + silent + LOST_AFTER), None);
        }
        // A queued run has no writer yet.
        let slot = Slot::default();
        slot.acquired(&lease(RunStatus::Queued), now);
        assert_eq!(slot.silence(now + LOST_AFTER * 60), None);
    }

    #[test]
    fn a_writer_is_connected_until_it_was_silent_for_the_limit() {
        let now = Clock::system().instant();
        let slot = Slot::default();
        slot.acquired(&lease(RunStatus::Running), now);
        assert!(!slot.has_writer(now), "acquiring the log is not the writer's activity");
        slot.record_activity(now);
        assert!(slot.has_writer(now + LOST_AFTER));
        assert!(!slot.has_writer(now + LOST_AFTER + MOMENT));
    }
}
