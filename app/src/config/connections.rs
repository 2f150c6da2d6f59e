//! The limits of connections.

use std::time::Duration;

use super::settings::Settings;

/// The limits of connections. Together with [`HttpConfig`](super::HttpConfig) these are the limits of one process.
#[derive(Debug, Clone)]
pub struct ConnectionsConfig {
    /// Maximum number of connections of a process. None: half of the descriptors that it may open.
    pub max: Option<usize>,
    /// How long a new connection may take to send the head of its first request.
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How long a request's body may make no progress.
    pub body_timeout: Duration,
}

impl Default for ConnectionsConfig {
    fn default() -> Self {
        Self {
            max: None,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(20),
        }
    }
}

impl ConnectionsConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let default = Self::default();
        let mut seconds =
            |name, default: Duration| Duration::from_secs(settings.number(name, 1..=3600, default.as_secs()));
        let header_timeout = seconds("DAYBOOK_HEADER_TIMEOUT", default.header_timeout);
        let idle_timeout = seconds("DAYBOOK_IDLE_TIMEOUT", default.idle_timeout);
        let body_timeout = seconds("DAYBOOK_BODY_TIMEOUT", default.body_timeout);
        let max = settings.parsed("DAYBOOK_CONNECTIONS", |value| {
            let number = value.parse().ok().filter(|max| (8..=1_000_000).contains(max));
            number.ok_or_else(|| "must be a whole number from 8 to 1000000".to_owned())
        });
        Self {
            max,
            header_timeout,
            idle_timeout,
            body_timeout,
        }
    }
}
