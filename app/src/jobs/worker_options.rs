//! The settings of a process's workers.

use std::time::Duration;

use super::heartbeat::Heartbeat;

/// The settings of a process's workers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// Maximum number of jobs that run at the same time.
    pub concurrency: usize,
    /// A worker or session without a heartbeat for this time counts as lost.
    pub lost_after: Duration,
    /// Maximum time for which running jobs may continue when the process stops. Then they are cancelled, and another
    /// process begins them again.
    pub grace: Duration,
    /// Maximum polling interval for work that no signal announced.
    pub poll: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            concurrency: 10,
            lost_after: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            poll: Duration::from_secs(1),
        }
    }
}

impl WorkerOptions {
    /// Sets the maximum number of jobs that run at the same time.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Sets the time without a heartbeat after which a worker or session counts as lost.
    #[must_use]
    pub fn lost_after(mut self, lost_after: Duration) -> Self {
        self.lost_after = lost_after;
        self
    }

    /// Sets how long running jobs may go on when the process stops.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the maximum polling interval for work that no signal announced.
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Returns the heartbeat interval of workers and sessions: a quarter of `lost_after`.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat::within(self.lost_after)
    }

    /// Number of database connections that the workers need, apart from those of their jobs. One listens, and the
    /// others run short statements.
    pub const CONNECTIONS: u32 = 10;
}
