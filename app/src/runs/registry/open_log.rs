//! An open log, and the place of a log.

use std::sync::Arc;

use daybook_run_log::Log;

use super::node_lease::NodeLease;

/// A log that this process writes.
#[derive(Debug, Clone)]
pub(in crate::runs) struct OpenLog {
    pub(super) node_lease: Arc<NodeLease>,
    pub(in crate::runs) log: Arc<Log>,
}

/// The place of a run's log.
#[derive(Debug)]
pub(in crate::runs) enum LogLocation {
    /// This process writes the log.
    Open(OpenLog),
    /// Another process writes the log; it is reached at this URL.
    Elsewhere(String),
    /// The run has ended, so the log is only read.
    Closed,
    /// The log is in the storage of a process that is gone, and this process does not share that storage.
    NotHere,
}
