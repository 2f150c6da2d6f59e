//! The settings of HTTP: the address and the limits of requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::connections::ConnectionsConfig;
use super::settings::Settings;

/// The settings of HTTP.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpConfig {
    /// The address on which the service listens.
    pub bind: SocketAddr,
    /// Maximum size of a request body, in bytes.
    pub body_limit_bytes: usize,
    /// Maximum duration of a request. Then it is answered with a problem document.
    pub request_timeout: Duration,
    /// Maximum time in which a client reads nothing of its answer. Then its connection is closed.
    pub write_timeout: Duration,
    /// The limits of connections.
    pub connections: ConnectionsConfig,
}

impl HttpConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        settings.group("Requests");
        let bind = settings
            .setting("DAYBOOK_BIND", "The address on which the service listens.")
            .valid_or(
                SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
                "an IP address and a port, as in 127.0.0.1:8080 or [::]:8080",
                |value| value.parse().ok(),
            );
        let body_limit_bytes = settings
            .setting(
                "DAYBOOK_BODY_LIMIT",
                "The maximum size of a request body, in bytes. Reading a JSON body can take 30 times its size.",
            )
            .number(1024..=1024 * 1024 * 1024, 1024 * 1024);
        let request_timeout = settings
            .setting(
                "DAYBOOK_REQUEST_TIMEOUT",
                "The maximum duration of a request, in seconds.",
            )
            .number(1..=3600, 30);
        let write_timeout = settings
            .setting(
                "DAYBOOK_WRITE_TIMEOUT",
                "The maximum time in which a client reads nothing of its answer, in seconds; then it is disconnected.",
            )
            .number(1..=3600, 30);
        Self {
            bind,
            body_limit_bytes,
            request_timeout: Duration::from_secs(request_timeout),
            write_timeout: Duration::from_secs(write_timeout),
            connections: ConnectionsConfig::read(settings),
        }
    }
}
