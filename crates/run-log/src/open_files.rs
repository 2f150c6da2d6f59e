//! Tracks which logs have their files open, limits their number, and finds idle ones.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::layout::RunKey;
use super::log::Log;
use super::machine_time;

/// The maximum number of open log files, and how long an idle one stays open.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct OpenFilesLimits {
    /// The maximum number of log files that are open at the same time. The least recently written ones are closed
    /// first.
    pub max: usize,
    /// The time without a line after which a file is closed.
    pub idle_after: Duration,
}

impl OpenFilesLimits {
    /// Creates the limits.
    pub const fn new(max: usize, idle_after: Duration) -> Self {
        Self { max, idle_after }
    }
}

impl Default for OpenFilesLimits {
    /// Returns limits of 256 files and 10 seconds.
    fn default() -> Self {
        Self::new(256, Duration::from_secs(10))
    }
}

/// The logs whose files are open, as the committer thread knows them.
#[derive(Debug)]
pub(super) struct OpenFiles {
    limits: OpenFilesLimits,
    logs: HashMap<RunKey, OpenFile>,
    last_sweep: Instant,
}

#[derive(Debug)]
struct OpenFile {
    log: Weak<Log>,
    used: Instant,
}

/// A log whose file must be closed.
pub(super) type ToClose = (RunKey, Weak<Log>);

impl OpenFiles {
    pub(super) fn new(limits: OpenFilesLimits) -> Self {
        Self {
            limits,
            logs: HashMap::new(),
            last_sweep: machine_time::instant(),
        }
    }

    /// Records that a log's file is open and was just used.
    pub(super) fn mark_used(&mut self, log: &Arc<Log>) {
        let entry = OpenFile {
            log: Arc::downgrade(log),
            used: machine_time::instant(),
        };
        self.logs.insert(log.key(), entry);
    }

    /// Returns the time until the next check for idle files; `None` while no file is open.
    pub(super) fn next_sweep(&self) -> Option<Duration> {
        let since_sweep = machine_time::instant().duration_since(self.last_sweep);
        (!self.logs.is_empty()).then(|| (self.limits.idle_after / 4).saturating_sub(since_sweep))
    }

    /// Removes and returns the logs that have been idle for long, at most once in each interval.
    pub(super) fn take_idle(&mut self) -> Vec<ToClose> {
        if self.next_sweep().is_none_or(|left| !left.is_zero()) {
            return Vec::new();
        }
        let now = machine_time::instant();
        self.last_sweep = now;
        let idle_after = self.limits.idle_after;
        let idle = self
            .logs
            .extract_if(|_, entry| now.duration_since(entry.used) >= idle_after);
        idle.map(|(run, entry)| (run, entry.log)).collect()
    }

    /// Makes room for `more` files. If they would exceed the limit, removes and returns the excess and another quarter
    /// of the limit, least recently used first. Without the quarter, a process with more busy logs than the limit would
    /// sync a file for each line.
    pub(super) fn make_room(&mut self, more: usize) -> Vec<ToClose> {
        let wanted = self.logs.len() + more;
        if wanted <= self.limits.max {
            return Vec::new();
        }
        self.take_oldest(wanted - self.limits.max + self.limits.max / 4)
    }

    /// Removes and returns the least recently used half, for a process without free descriptors.
    pub(super) fn take_half(&mut self) -> Vec<ToClose> {
        self.take_oldest(self.logs.len().div_ceil(2))
    }

    fn take_oldest(&mut self, number: usize) -> Vec<ToClose> {
        let mut by_use: Vec<_> = self.logs.iter().map(|(run, entry)| (entry.used, *run)).collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        let oldest = by_use.into_iter().take(number);
        oldest
            .filter_map(|(_, run)| Some((run, self.logs.remove(&run)?.log)))
            .collect()
    }
}
