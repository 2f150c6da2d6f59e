//! A run whose log this process keeps, or tries to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::OpenLog;
use super::home::Settled;
use crate::runs::log::{LogError, Opened, Said};
use crate::runs::status::RunStatus;
use crate::runs::store::Lease;

/// A run whose log this process keeps, or tries to.
#[derive(Debug, Default)]
pub(super) struct Slot {
    open: tokio::sync::Mutex<Option<OpenLog>>,
    /// One end at a time.
    pub(super) ending: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// Lines that were refused because the log could not be written, and that nobody sends again by their numbers.
    refused: AtomicU64,
    degraded: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    status: Option<RunStatus>,
    heard: Option<Instant>,
    /// When its writer spoke to this process; taking up the log is not that.
    spoken: Option<Instant>,
    lost_after: Duration,
    safe: Option<u64>,
}

impl Slot {
    pub(super) async fn open(&self) -> tokio::sync::MutexGuard<'_, Option<OpenLog>> {
        self.open.lock().await
    }

    /// Lets the log go, unless somebody is about to take it up.
    pub(super) fn let_go(&self) {
        if let Ok(mut open) = self.open.try_lock() {
            *open = None;
        }
    }

    pub(super) fn taken_up(&self, lease: &Lease) {
        let mut state = self.state();
        state.status = Some(lease.status);
        state.lost_after = lease.lost_after;
        state.heard = Some(Instant::now());
    }

    pub(super) fn heard(&self) {
        let mut state = self.state();
        state.heard = Some(Instant::now());
        state.spoken = state.heard;
    }

    /// Whether its writer speaks to this process, whatever the database says.
    pub(super) fn has_writer(&self) -> bool {
        let state = self.state();
        state.spoken.is_some_and(|at| at.elapsed() <= state.lost_after)
    }

    pub(super) fn moved(&self, status: RunStatus) {
        self.state().status = Some(status);
    }

    /// It was let go, and had so many bytes that were safe.
    pub(super) fn was_safe(&self, bytes: u64) {
        let mut state = self.state();
        state.safe = state.safe.max(Some(bytes));
    }

    pub(super) fn safe_part(&self) -> Option<u64> {
        self.state().safe
    }

    pub(super) fn refused(&self, lines: usize) {
        self.refused.fetch_add(lines as u64, Ordering::Relaxed);
    }

    /// Whether that is news.
    pub(super) fn becomes_degraded(&self) -> bool {
        !self.degraded.swap(true, Ordering::Relaxed)
    }

    /// For how long its writer has been silent, if that is longer than the run allows.
    pub(super) fn silent(&self) -> Option<Duration> {
        let state = self.state();
        let live = matches!(state.status, Some(RunStatus::Building | RunStatus::Running));
        let silent = state.heard?.elapsed();
        (live && silent > state.lost_after).then_some(silent)
    }

    /// What a log says of itself when it is taken up: that it begins, that it has lost something.
    pub(super) async fn first_lines(&self, settled: &Settled, opened: &Opened, lease: &Lease) -> Result<(), LogError> {
        let home = settled.home();
        let log = &opened.log;
        let empty = log.durable().borrow().sequence == 0;
        if empty {
            home.append_own(log, own("run.queued", None), false).await?;
            if lease.status == RunStatus::Running {
                home.append_own(log, own("run.started", None), false).await?;
            }
        }
        if opened.cut_bytes > 0 {
            let payload = raw(&json!({"cut_bytes": opened.cut_bytes}));
            home.append_own(log, own("log.recovered", Some(&payload)), false)
                .await?;
        }
        let refused = self.refused.load(Ordering::Relaxed);
        if refused > 0 {
            let reason = "these lines were refused while the log could not be written";
            let payload = raw(&json!({"count": refused, "reason": reason}));
            home.append_own(log, own("log.gap", Some(&payload)), false).await?;
            self.refused.fetch_sub(refused, Ordering::Relaxed);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line of the service's own.
pub(super) fn own<'a>(kind: &'a str, payload: Option<&'a RawValue>) -> Said<'a> {
    Said {
        kind: kind.into(),
        payload,
        created_at: None,
        source: None,
    }
}

/// What a line says, as JSON.
pub(super) fn raw(value: &serde_json::Value) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_silent_at_the_limit_and_not_before() {
        let slot = Slot::default();
        let lease = |status| Lease {
            epoch: 1,
            configuration_id: None,
            status,
            lost_after: Duration::from_secs(60),
        };
        let silent_after = |ms| {
            slot.state().heard = Instant::now().checked_sub(Duration::from_millis(ms));
            slot.silent().is_some()
        };
        for status in [RunStatus::Building, RunStatus::Running] {
            slot.taken_up(&lease(status));
            assert!(!silent_after(55_000) && silent_after(60_500));
        }
        // A run that waits has no writer yet.
        slot.taken_up(&lease(RunStatus::Queued));
        assert!(!silent_after(3_600_000));
    }
}
