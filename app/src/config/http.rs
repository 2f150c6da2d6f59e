//! The settings of HTTP: the address and the limits of requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::connections::ConnectionsConfig;
use super::settings::Settings;

/// The settings of HTTP.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// The address on which the service listens.
    pub bind: SocketAddr,
    /// Maximum size of a request body, in bytes.
    pub body_limit_bytes: usize,
    /// How long a request may take before it is answered with a problem.
    pub request_timeout: Duration,
    /// How long a client may read nothing of its answer before its connection is closed.
    pub write_timeout: Duration,
    /// The limits of connections.
    pub connections: ConnectionsConfig,
}

impl HttpConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let bind = settings.parsed("DAYBOOK_BIND", |value| {
            value
                .parse()
                .map_err(|_| "must be an IP address and a port, as in 127.0.0.1:8080 or [::]:8080".to_owned())
        });
        Self {
            bind: bind.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            body_limit_bytes: settings.number("DAYBOOK_BODY_LIMIT", 1024..=1024 * 1024 * 1024, 1024 * 1024),
            request_timeout: Duration::from_secs(settings.number("DAYBOOK_REQUEST_TIMEOUT", 1..=3600, 30)),
            write_timeout: Duration::from_secs(settings.number("DAYBOOK_WRITE_TIMEOUT", 1..=3600, 30)),
            connections: ConnectionsConfig::read(settings),
        }
    }
}
