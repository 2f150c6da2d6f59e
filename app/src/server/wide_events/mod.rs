//! The service's wide events: their fields and schema.
//!
//! The crate of wide events doesn't depend on teams or the database; this module connects them.

mod schema;

use axum::http::HeaderName;

pub use schema::event_schema;

use crate::config::WideEventsConfig;
use crate::error::{Error, Result};
use crate::wide_events::{EventSchema, HashKey, Redaction, Sampling, WideEventConfig};

// The crate of wide events doesn't depend on this one, but must have the same limit.
const _: () = assert!(crate::wide_events::MAX_DEPTH == crate::json::MAX_JSON_DEPTH);

/// Returns the configuration of the service's wide events, from its settings.
///
/// # Errors
/// [`Error::Internal`] if the redaction key can't be used; the check of the settings normally finds this first.
pub fn wide_event_config(config: &WideEventsConfig) -> Result<WideEventConfig> {
    let sampling = Sampling::default().rate(config.sample_rate).slow(config.slow);
    let sampling = config
        .sample_routes
        .iter()
        .fold(sampling, |sampling, (route, rate)| sampling.route(route, *rate));
    let mut redaction = Redaction::default();
    if let Some(key) = &config.redaction_key {
        let key = HashKey::new(config.redaction_key_id.as_str(), key.expose().as_bytes());
        redaction = redaction.hash_key(key.map_err(Error::internal)?);
    }
    let schema = match config.schema {
        true => Some(EventSchema::new(&event_schema()).map_err(Error::internal)?),
        false => None,
    };
    let made = WideEventConfig::new(config.service.as_str())
        .version(env!("CARGO_PKG_VERSION"))
        .deployment_id(config.deployment_id.clone())
        .region(config.region.clone())
        .sampling(sampling)
        .redaction(redaction)
        .schema(schema);
    let headers = config.headers.iter().filter_map(|name| name.parse::<HeaderName>().ok());
    Ok(headers.fold(made, WideEventConfig::header))
}
