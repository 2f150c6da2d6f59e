//! The limits and folders of a process's run logs.

use std::path::PathBuf;
use std::time::Duration;

use crate::runs::log::{Limits, OpenFilesLimits};

/// How a process keeps logs.
#[derive(Debug, Clone)]
pub struct RunsOptions {
    /// The folder that the logs are in.
    pub storage: PathBuf,
    /// Where other processes send who wants a log of this one.
    pub url: String,
    /// How large logs and lines may be.
    pub limits: Limits,
    /// How large a segment of the write-ahead log is.
    pub segment_bytes: u64,
    /// How many logs have their files open, and for how long. At most a quarter of the process's descriptors is used.
    pub open_files: OpenFilesLimits,
    /// The number of runs of a team that may be unfinished at the same time.
    pub open_runs: u32,
    /// How many streams and downloads of logs there may be at the same time: of all teams, and of one.
    pub max_readers: (usize, usize),
    /// After which silence a process is taken for dead by those that don't share its storage.
    pub lease: Duration,
}

/// How many runs of a team may be unfinished, unless that is set.
const OPEN_RUNS: u32 = 1_000;
/// How many logs have their files open, unless that is set.
const OPEN_LOGS: usize = 256;
/// After how long without a line a log's file is closed.
const CLOSE_IDLE_AFTER: Duration = Duration::from_secs(10);

impl RunsOptions {
    /// The storage in this folder, for a process that is reached at `url`.
    pub fn new(storage: impl Into<PathBuf>, url: impl Into<String>) -> Self {
        Self {
            storage: storage.into(),
            url: url.into(),
            limits: Limits {
                line_bytes: 256 << 10,
                run_bytes: 1 << 30,
            },
            segment_bytes: 32 << 20,
            open_files: OpenFilesLimits {
                max: OPEN_LOGS,
                idle_after: CLOSE_IDLE_AFTER,
            },
            open_runs: OPEN_RUNS,
            max_readers: (1_000, 500),
            lease: Duration::from_secs(15),
        }
    }

    /// At most so many readers, and so many of one team.
    #[must_use]
    pub fn readers(mut self, max: usize, max_team: usize) -> Self {
        self.max_readers = (max, max_team);
        self
    }

    /// The maximum size of a line and of a log, in bytes.
    #[must_use]
    pub fn limits(mut self, line_bytes: usize, run_bytes: u64) -> Self {
        self.limits = Limits { line_bytes, run_bytes };
        self
    }

    /// At most `open_logs` logs with an open file in this process, and `open_runs` unfinished runs in each team.
    #[must_use]
    pub fn open(mut self, open_logs: usize, open_runs: u32) -> Self {
        self.open_files.max = open_logs;
        self.open_runs = open_runs;
        self
    }
}
