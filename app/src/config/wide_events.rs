//! The settings of wide events.

use std::time::Duration;

use super::settings::{Secret, Settings};

/// Minimum length of an HMAC key, in bytes (NIST SP 800-107).
const MIN_KEY_BYTES: usize = 16;

/// The settings of wide events.
#[derive(Debug, Clone)]
#[non_exhaustive]
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
    /// The duration from which a request counts as slow. Events of slow requests are always kept.
    pub slow: Duration,
    /// The names of the request headers that are copied into events.
    pub headers: Vec<String>,
    /// Whether events are validated against their schema.
    pub schema: bool,
    /// The key with which values in events are hashed.
    pub redaction_key: Option<Secret>,
    /// The id of that key, which is in every hash.
    pub redaction_key_id: String,
}

impl WideEventsConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        settings.group("Wide events");
        let service = settings
            .setting("DAYBOOK_SERVICE", "The service's name in wide events.")
            .text_or("daybook", "any text");
        let deployment_id = settings
            .setting("DAYBOOK_DEPLOYMENT_ID", "The deployment's id in wide events.")
            .text("any text");
        let region = settings
            .setting("DAYBOOK_REGION", "The region in wide events.")
            .text("any text");
        let sample_rate = settings
            .setting(
                "DAYBOOK_SAMPLE_RATE",
                "The share of wide events that are emitted; failures are always emitted.",
            )
            .valid_or(1.0, "a share from 0 to 1, as in 0.1", rate);
        let sample_routes = settings
            .setting(
                "DAYBOOK_SAMPLE_ROUTES",
                "The shares of emitted wide events for single routes.",
            )
            .valid(
                "routes with a share from 0 to 1 each, separated by commas, as in /healthz=0.01,/internal/*=0.1",
                routes,
            );
        let slow_ms = settings
            .setting(
                "DAYBOOK_SLOW_MS",
                "The duration from which a request counts as slow, in milliseconds.",
            )
            .number(1..=3_600_000, 2_000);
        let headers = settings
            .setting(
                "DAYBOOK_EVENT_HEADERS",
                "The request headers that are copied into wide events.",
            )
            .valid(
                "names of headers, separated by commas, as in x-client-version,accept-language",
                headers,
            );
        let schema = settings
            .setting(
                "DAYBOOK_EVENT_SCHEMA",
                "Whether wide events are validated against their schema.",
            )
            .switch(true);
        let redaction_key = settings
            .setting(
                "DAYBOOK_REDACTION_KEY",
                "The key with which values in wide events are hashed; without a key, such values are dropped.",
            )
            .credential(&format!("at least {MIN_KEY_BYTES} bytes long"), |value| {
                match value.len() {
                    0..MIN_KEY_BYTES => Err(format!("must be at least {MIN_KEY_BYTES} bytes long")),
                    _ => Ok(Secret::new(value)),
                }
            });
        let redaction_key_id = settings
            .setting(
                "DAYBOOK_REDACTION_KEY_ID",
                "The id of the redaction key, which is in every hash.",
            )
            .checked_or("1", "letters, digits, '-', '_' and dots, as in 2026-11", key_id);
        Self {
            service,
            deployment_id,
            region,
            sample_rate,
            sample_routes: sample_routes.unwrap_or_default(),
            slow: Duration::from_millis(slow_ms),
            headers: headers.unwrap_or_default(),
            schema,
            redaction_key,
            redaction_key_id,
        }
    }
}

fn rate(value: &str) -> Option<f64> {
    let rate = value.trim().parse().ok();
    rate.filter(|rate| (0.0..=1.0).contains(rate))
}

fn routes(value: &str) -> Option<Vec<(String, f64)>> {
    let route = |text: &str| {
        let (route, share) = text.trim().split_once('=')?;
        route.starts_with('/').then_some(())?;
        Some((route.to_owned(), rate(share)?))
    };
    value.split(',').map(route).collect()
}

fn headers(value: &str) -> Option<Vec<String>> {
    let header = |name: &str| Some(name.trim().parse::<axum::http::HeaderName>().ok()?.as_str().to_owned());
    value.split(',').map(header).collect()
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
        assert_eq!(rate("0.25"), Some(0.25));
        for wrong in ["", "-0.1", "1.1", "10%", "NaN"] {
            assert!(rate(wrong).is_none(), "{wrong}");
        }
        assert_eq!(
            routes("/healthz=0, /internal/*=0.5"),
            Some(vec![("/healthz".to_owned(), 0.0), ("/internal/*".to_owned(), 0.5)])
        );
        for wrong in ["/healthz", "healthz=1", "/healthz=2", "/a=1,"] {
            assert!(routes(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_names() {
        assert_eq!(headers("X-Plan, accept").unwrap(), ["x-plan", "accept"]);
        assert!(headers("two words").is_none());
        assert!(key_id("2026-11").is_ok() && key_id("a:b").is_err());
    }
}
