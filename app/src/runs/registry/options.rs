//! The limits and folders of a process's run logs.

use std::path::PathBuf;
use std::time::Duration;

use daybook_run_log::OpenFilesLimits;

/// The options of a process's run logs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunsOptions {
    /// The folder of the logs.
    pub storage: PathBuf,
    /// The URL of this process. Other processes redirect clients to it that request a log of this process.
    pub url: String,
    /// The maximum size of an incoming line, in bytes.
    pub line_bytes: usize,
    /// The maximum size of a run's log, in bytes.
    pub run_bytes: u64,
    /// The size of a segment of the write-ahead log, in bytes.
    pub segment_bytes: u64,
    /// The maximum number of open log files, and how long an idle one stays open. The logs use at most a quarter of the
    /// process's descriptors.
    pub open_files: OpenFilesLimits,
    /// The maximum number of unfinished runs of a team.
    pub open_runs: u32,
    /// The maximum number of simultaneous streams and downloads of logs: of all teams, and of one team.
    pub max_readers: (usize, usize),
    /// The duration of the node lease. After this time without a renewal, processes that don't share the storage
    /// consider this one dead.
    pub lease: Duration,
}

/// The default maximum number of unfinished runs of a team.
const OPEN_RUNS: u32 = 1_000;
/// The default maximum number of open log files.
const OPEN_LOGS: usize = 256;
/// The time without a line after which a log's file is closed.
const CLOSE_IDLE_AFTER: Duration = Duration::from_secs(10);

impl RunsOptions {
    /// Creates the default options for a storage folder and the process's own URL.
    pub fn new(storage: impl Into<PathBuf>, url: impl Into<String>) -> Self {
        Self {
            storage: storage.into(),
            url: url.into(),
            line_bytes: 256 << 10,
            run_bytes: 1 << 30,
            segment_bytes: 32 << 20,
            open_files: OpenFilesLimits::new(OPEN_LOGS, CLOSE_IDLE_AFTER),
            open_runs: OPEN_RUNS,
            max_readers: (1_000, 500),
            lease: Duration::from_secs(15),
        }
    }

    /// Sets the size of a segment of the write-ahead log, in bytes.
    #[must_use]
    pub fn segment_bytes(mut self, segment_bytes: u64) -> Self {
        self.segment_bytes = segment_bytes;
        self
    }

    /// Sets the maximum number of readers, and of readers of one team.
    #[must_use]
    pub fn readers(mut self, max: usize, max_team: usize) -> Self {
        self.max_readers = (max, max_team);
        self
    }

    /// Sets the maximum size of a line and of a log, in bytes.
    #[must_use]
    pub fn limits(mut self, line_bytes: usize, run_bytes: u64) -> Self {
        (self.line_bytes, self.run_bytes) = (line_bytes, run_bytes);
        self
    }

    /// Sets the maximum number of open log files in this process, and of unfinished runs in each team.
    #[must_use]
    pub fn open(mut self, open_logs: usize, open_runs: u32) -> Self {
        self.open_files.max = open_logs;
        self.open_runs = open_runs;
        self
    }
}
