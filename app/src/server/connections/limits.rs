//! The limits of a process's connections.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::HttpConfig;

/// The range of the default for the maximum number of connections, which is half of the process's descriptors.
const DEFAULT_RANGE: RangeInclusive<u64> = 16..=65_536;
/// Timeout for the client to read one piece of a response (at most 64 KiB), as a multiple of the write timeout.
const WRITE_TIMEOUTS_PER_PIECE: u32 = 4;

/// The limits of a process's connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Maximum number of connections.
    pub max: usize,
    /// Maximum number of unauthenticated connections.
    pub max_unauthenticated: usize,
    /// Maximum time for a new connection to send the head of its first request.
    pub header_timeout: Duration,
    /// Maximum time that a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// Maximum time without an acknowledgement of sent data by the client.
    pub write_timeout: Duration,
}

impl ConnectionLimits {
    /// Returns the limits from the settings, for a process with this limit of descriptors.
    pub fn new(config: &HttpConfig, descriptors: u64) -> Self {
        let half = (descriptors / 2).clamp(*DEFAULT_RANGE.start(), *DEFAULT_RANGE.end());
        let max = config
            .connections
            .max
            .unwrap_or_else(|| usize::try_from(half).unwrap_or(usize::MAX));
        Self {
            max,
            max_unauthenticated: (max / 2).max(1),
            header_timeout: config.connections.header_timeout,
            idle_timeout: config.connections.idle_timeout,
            write_timeout: config.write_timeout,
        }
    }

    /// Returns the maximum time that a piece of a response may wait for its client.
    pub(super) fn answer_timeout(&self) -> Duration {
        self.write_timeout * WRITE_TIMEOUTS_PER_PIECE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_default_is_half_of_the_descriptors() {
        let http = Config::from_lookup(&|_| None).unwrap().http;
        let max = |descriptors| ConnectionLimits::new(&http, descriptors).max;
        assert_eq!((max(400), max(10), max(u64::MAX)), (200, 16, 65_536));
    }
}
