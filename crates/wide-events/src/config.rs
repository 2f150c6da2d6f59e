//! The configuration of a layer.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;

use super::fields::Fields;
use super::redaction::Redaction;
use super::sampling::Sampling;
#[cfg(feature = "schema")]
use super::schema::EventSchema;
use super::sink::Sink;

/// A function that formats an event as a line.
type Format = dyn Fn(&Fields) -> String + Send + Sync;

/// The configuration of wide events: their contents, the rules that apply to them, and their destination.
#[derive(Clone)]
pub struct WideEventConfig {
    pub(super) service: String,
    pub(super) version: Option<String>,
    pub(super) deployment_id: Option<String>,
    pub(super) region: Option<String>,
    pub(super) headers: Vec<HeaderName>,
    pub(super) redaction: Redaction,
    #[cfg(feature = "schema")]
    pub(super) schema: Option<EventSchema>,
    pub(super) sampling: Sampling,
    pub(super) sink: Option<Sink>,
    pub(super) format: Option<Arc<Format>>,
    pub(super) max_line_bytes: usize,
}

impl fmt::Debug for WideEventConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WideEventConfig")
            .field("service", &self.service)
            .field("redaction", &self.redaction)
            .field("sampling", &self.sampling)
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

impl WideEventConfig {
    /// Creates the default configuration for `service`: all events are emitted to stdout, with the default redaction.
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            version: None,
            deployment_id: None,
            region: None,
            headers: Vec::new(),
            redaction: Redaction::default(),
            #[cfg(feature = "schema")]
            schema: None,
            sampling: Sampling::default(),
            sink: None,
            format: None,
            max_line_bytes: 256 * 1024,
        }
    }

    /// Sets the service's version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets the id of the deployment, such as an image tag or a release number.
    #[must_use]
    pub fn deployment_id(mut self, deployment_id: Option<String>) -> Self {
        self.deployment_id = deployment_id;
        self
    }

    /// Sets the region in which the service runs.
    #[must_use]
    pub fn region(mut self, region: Option<String>) -> Self {
        self.region = region;
        self
    }

    /// Adds a request header that events have, as `headers.<name>`. By default, they have none.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        if !self.headers.contains(&name) {
            self.headers.push(name);
        }
        self
    }

    /// Sets the redaction rules.
    #[must_use]
    pub fn redaction(mut self, redaction: Redaction) -> Self {
        self.redaction = redaction;
        self
    }

    /// Sets the schema that events are validated against. With `None`, they aren't validated.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn schema(mut self, schema: Option<EventSchema>) -> Self {
        self.schema = schema;
        self
    }

    /// Sets the rules that decide which events are emitted.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Sets the sink that writes the lines. The default writes to stdout.
    #[must_use]
    pub fn sink(mut self, sink: Sink) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Sets the function that formats an event as a line, for output that is not JSON, such as sentences for a
    /// terminal.
    #[must_use]
    pub fn format(mut self, format: impl Fn(&Fields) -> String + Send + Sync + 'static) -> Self {
        self.format = Some(Arc::new(format));
        self
    }

    /// Sets the maximum length of a line. A longer event keeps only the layer's own fields, and `schema_errors` records
    /// this.
    #[must_use]
    pub fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.max_line_bytes = bytes;
        self
    }
}
