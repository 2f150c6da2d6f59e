//! Options of the live service.

use std::time::Duration;

/// Options of the live service. The defaults suit a service; tests use shorter times.
#[derive(Debug, Clone)]
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
