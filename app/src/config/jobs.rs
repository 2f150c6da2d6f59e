//! The settings of background jobs.

use std::time::Duration;

use super::settings::Settings;

/// The settings of background jobs.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// Maximum number of jobs that a process runs at the same time.
    pub concurrency: usize,
    /// The time without a heartbeat after which a worker counts as dead, and its sessions as lost.
    pub lost_after: Duration,
    /// How long running jobs may continue at a shutdown.
    pub grace: Duration,
    /// How long sessions are kept after their end.
    pub keep_days: u32,
}

impl JobsConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        Self {
            concurrency: settings.number("DAYBOOK_JOBS", 1..=1_000, 10),
            lost_after: Duration::from_secs(settings.number("DAYBOOK_LOST_AFTER", 2..=86_400, 60)),
            grace: Duration::from_secs(settings.number("DAYBOOK_JOB_GRACE", 0..=3_600, 10)),
            keep_days: settings.number("DAYBOOK_KEEP_SESSIONS", 1..=36_500, 90),
        }
    }
}
