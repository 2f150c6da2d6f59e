//! Options of the live service.

use std::time::Duration;

/// Options of the live service. The defaults suit a service; tests use shorter times.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LiveOptions {
    /// Interval at which the service looks up the positions of followed topics, and whether their subscribers may still
    /// read them.
    pub poll_interval: Duration,
    /// Maximum number of concurrent database reads. It limits the shared reads of the service, and separately the reads
    /// of all sockets for themselves.
    pub max_concurrent_reads: usize,
    /// Maximum time to write a frame to a client.
    pub write_timeout: Duration,
    /// Interval of pings. A client that hasn't answered by the next ping is disconnected.
    pub ping_interval: Duration,
    /// Maximum number of sockets of this process.
    pub max_sockets: usize,
    /// Origins, such as `https://app.example.com`, whose pages may open sockets, in addition to the service's own
    /// origin.
    pub allowed_origins: Vec<String>,
    /// Ignores signals, so that changes are found only by polling: for tests.
    pub ignore_signals: bool,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            max_concurrent_reads: 3,
            write_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            max_sockets: 20_000,
            allowed_origins: Vec::new(),
            ignore_signals: false,
        }
    }
}

impl LiveOptions {
    /// Sets how often the service looks up the positions of followed topics.
    #[must_use]
    pub fn poll_interval(mut self, poll_interval: Duration) -> Self {
        self.poll_interval = poll_interval;
        self
    }

    /// Sets the maximum time to write a frame to a client.
    #[must_use]
    pub fn write_timeout(mut self, write_timeout: Duration) -> Self {
        self.write_timeout = write_timeout;
        self
    }

    /// Sets the interval of pings.
    #[must_use]
    pub fn ping_interval(mut self, ping_interval: Duration) -> Self {
        self.ping_interval = ping_interval;
        self
    }

    /// Sets the maximum number of sockets of this process.
    #[must_use]
    pub fn max_sockets(mut self, max_sockets: usize) -> Self {
        self.max_sockets = max_sockets;
        self
    }

    /// Sets the origins whose pages may open sockets, in addition to the service's own origin.
    #[must_use]
    pub fn allowed_origins(mut self, allowed_origins: Vec<String>) -> Self {
        self.allowed_origins = allowed_origins;
        self
    }

    /// Sets whether signals are ignored, so that changes are found only by polling: for tests.
    #[must_use]
    pub fn ignore_signals(mut self, ignore_signals: bool) -> Self {
        self.ignore_signals = ignore_signals;
        self
    }
}
