//! The settings of background jobs.

use std::time::Duration;

use super::settings::Settings;

/// The settings of background jobs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobsConfig {
    /// Maximum number of jobs that a process runs at the same time.
    pub concurrency: usize,
    /// The time without a heartbeat after which a worker counts as dead, and its sessions as lost.
    pub lost_after: Duration,
    /// Maximum time for which running jobs continue at a shutdown.
    pub grace: Duration,
    /// Days after their end until job sessions are deleted.
    pub keep_days: u32,
}

impl JobsConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        settings.group("Background jobs");
        let concurrency = settings
            .setting(
                "DAYBOOK_JOBS",
                "The maximum number of jobs that a process runs at the same time.",
            )
            .number(1..=1_000, 10);
        let lost_after = settings
            .setting(
                "DAYBOOK_LOST_AFTER",
                "The time without a heartbeat after which a worker is dead and its sessions are lost, in seconds.",
            )
            .number(2..=86_400, 60);
        let grace = settings
            .setting(
                "DAYBOOK_JOB_GRACE",
                "The maximum time for which running jobs continue at a shutdown, in seconds.",
            )
            .number(0..=3_600, 10);
        let keep_days = settings
            .setting(
                "DAYBOOK_KEEP_SESSIONS",
                "How long job sessions are kept after their end, in days.",
            )
            .number(1..=36_500, 90);
        Self {
            concurrency,
            lost_after: Duration::from_secs(lost_after),
            grace: Duration::from_secs(grace),
            keep_days,
        }
    }
}
