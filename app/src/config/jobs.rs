//! How work in the background is done.

use std::time::Duration;

use super::settings::Settings;

/// How work in the background is done.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// How many jobs a process runs at the same time.
    pub concurrency: usize,
    /// After which silence a worker counts as dead, and its sessions as lost.
    pub lost_after: Duration,
    /// How long jobs that run may go on when the process is to stop.
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
