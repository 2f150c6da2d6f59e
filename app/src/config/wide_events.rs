//! The settings of wide events.

use std::time::Duration;

use super::settings::{Secret, Settings};

/// Minimum length of an HMAC key (NIST SP 800-107).
const MIN_KEY_BYTES: usize = 16;

/// The settings of wide events.
#[derive(Debug, Clone)]
pub struct WideEventsConfig {
    /// The service's name in events.
    pub service: String,
    /// The id of the deployment.
    pub deployment_id: Option<String>,
    /// The region in which the service runs.
    pub region: Option<String>,
    /// The share of events that are emitted, from 0 to 1.
    pub sample_rate: f64,
    /// Rates for single routes.
    pub sample_routes: Vec<(String, f64)>,
    /// The duration from which a request is slow, and its event always kept.
    pub slow: Duration,
    /// The names of the request headers that events have.
    pub headers: Vec<String>,
    /// Whether events are validated against their schema.
    pub schema: bool,
    /// The key of hashes in events.
    pub redaction_key: Option<Secret>,
    /// The id of that key, which is in every hash.
    pub redaction_key_id: String,
}

impl WideEventsConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        Self {
            service: settings.text("DAYBOOK_SERVICE").unwrap_or_else(|| "daybook".to_owned()),
            deployment_id: settings.text("DAYBOOK_DEPLOYMENT_ID"),
            region: settings.text("DAYBOOK_REGION"),
            sample_rate: settings.parsed("DAYBOOK_SAMPLE_RATE", rate).unwrap_or(1.0),
            sample_routes: settings.parsed("DAYBOOK_SAMPLE_ROUTES", routes).unwrap_or_default(),
            slow: Duration::from_millis(settings.number("DAYBOOK_SLOW_MS", 1..=3_600_000, 2_000)),
            headers: settings.parsed("DAYBOOK_EVENT_HEADERS", headers).unwrap_or_default(),
            schema: settings.switch("DAYBOOK_EVENT_SCHEMA", true),
            redaction_key: settings.secret("DAYBOOK_REDACTION_KEY", |value| match value.len() {
                0..MIN_KEY_BYTES => Err(format!("must be at least {MIN_KEY_BYTES} bytes long")),
                _ => Ok(Secret::new(value)),
            }),
            redaction_key_id: settings
                .parsed("DAYBOOK_REDACTION_KEY_ID", key_id)
                .unwrap_or_else(|| "1".to_owned()),
        }
    }
}

fn rate(value: &str) -> Result<f64, String> {
    match value.trim().parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("must be a share from 0 to 1, as in 0.1".to_owned()),
    }
}

fn routes(value: &str) -> Result<Vec<(String, f64)>, String> {
    let route = |text: &str| {
        let (route, share) = text.trim().split_once('=')?;
        route.starts_with('/').then_some(())?;
        Some((route.to_owned(), rate(share).ok()?))
    };
    let routes: Option<Vec<_>> = value.split(',').map(route).collect();
    routes.ok_or_else(|| {
        "must be routes with a share from 0 to 1 each, separated by commas, as in /healthz=0.01,/internal/*=0.1"
            .to_owned()
    })
}

fn headers(value: &str) -> Result<Vec<String>, String> {
    value
        .split(',')
        .map(|name| match name.trim().parse::<axum::http::HeaderName>() {
            Ok(name) => Ok(name.as_str().to_owned()),
            Err(_) => {
                Err("must be names of headers, separated by commas, as in x-client-version,accept-language".to_owned())
            }
        })
        .collect()
}

fn key_id(value: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match value.bytes().all(is_allowed) {
        true => Ok(value.to_owned()),
        false => Err("must have only letters, digits, '-', '_' and dots, as in 2026-11".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shares() {
        assert_eq!(rate("0.25"), Ok(0.25));
        for wrong in ["", "-0.1", "1.1", "10%", "NaN"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            routes("/healthz=0, /internal/*=0.5"),
            Ok(vec![("/healthz".to_owned(), 0.0), ("/internal/*".to_owned(), 0.5)])
        );
        for wrong in ["/healthz", "healthz=1", "/healthz=2", "/a=1,"] {
            assert!(routes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_names() {
        assert_eq!(headers("X-Plan, accept").unwrap(), ["x-plan", "accept"]);
        assert!(headers("two words").is_err());
        assert!(key_id("2026-11").is_ok() && key_id("a:b").is_err());
    }
}
