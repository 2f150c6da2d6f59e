//! The limits of connections.

use std::time::Duration;

use super::settings::Settings;

/// The limits of connections. Together with [`HttpConfig`](super::HttpConfig) these are the limits of one process.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionsConfig {
    /// Maximum number of connections of a process. None: half of the descriptors that it may open.
    pub max: Option<usize>,
    /// Maximum time from a new connection to the complete head of its first request.
    pub header_timeout: Duration,
    /// Maximum time that a connection stays open without a request.
    pub idle_timeout: Duration,
    /// Maximum time in which a request's body makes no progress.
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
        settings.group("Connections");
        let default = Self::default();
        let max = settings
            .setting(
                "DAYBOOK_CONNECTIONS",
                "The maximum number of connections of a process; more are refused with 503.",
            )
            .default("half of the open files")
            .optional_number(8..=1_000_000);
        let mut seconds = |name, help, default: Duration| {
            let seconds = settings.setting(name, help).number(1..=3600, default.as_secs());
            Duration::from_secs(seconds)
        };
        let header_timeout = seconds(
            "DAYBOOK_HEADER_TIMEOUT",
            "The maximum time from a new connection to the complete head of its first request, in seconds.",
            default.header_timeout,
        );
        let idle_timeout = seconds(
            "DAYBOOK_IDLE_TIMEOUT",
            "The maximum time that a connection stays open without a request, in seconds.",
            default.idle_timeout,
        );
        let body_timeout = seconds(
            "DAYBOOK_BODY_TIMEOUT",
            "The maximum time in which a request's body makes no progress, in seconds.",
            default.body_timeout,
        );
        Self {
            max,
            header_timeout,
            idle_timeout,
            body_timeout,
        }
    }
}
