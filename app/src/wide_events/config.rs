//! What a layer is told once.

use std::fmt;
use std::sync::Arc;

use axum::http::HeaderName;

use super::fields::Fields;
use super::redaction::Redaction;
use super::sampling::Sampling;
use super::schema::EventSchema;
use super::sink::Sink;

/// How an event becomes a line.
type Format = dyn Fn(&Fields) -> String + Send + Sync;

/// How events are made, and where they go.
#[derive(Clone)]
pub struct WideEventConfig {
    pub(super) service: String,
    pub(super) version: Option<String>,
    pub(super) deployment_id: Option<String>,
    pub(super) region: Option<String>,
    pub(super) headers: Vec<HeaderName>,
    pub(super) redaction: Redaction,
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
            .field("schema", &self.schema)
            .field("sampling", &self.sampling)
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

impl WideEventConfig {
    /// Events of `service`: all of them, without secrets, to stdout.
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            version: None,
            deployment_id: None,
            region: None,
            headers: Vec::new(),
            redaction: Redaction::default(),
            schema: None,
            sampling: Sampling::default(),
            sink: None,
            format: None,
            max_line_bytes: 256 * 1024,
        }
    }

    /// The service's version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// What was rolled out: an image's tag, a release's number.
    #[must_use]
    pub fn deployment_id(mut self, deployment_id: Option<String>) -> Self {
        self.deployment_id = deployment_id;
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn region(mut self, region: Option<String>) -> Self {
        self.region = region;
        self
    }

    /// A request's header that events have, as `headers.<name>`. None is there by itself.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        if !self.headers.contains(&name) {
            self.headers.push(name);
        }
        self
    }

    /// What must not leave the process.
    #[must_use]
    pub fn redaction(mut self, redaction: Redaction) -> Self {
        self.redaction = redaction;
        self
    }

    /// Checks events against a schema; `None` doesn't.
    #[must_use]
    pub fn schema(mut self, schema: Option<EventSchema>) -> Self {
        self.schema = schema;
        self
    }

    /// Which events are emitted.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Where lines go instead of to stdout.
    #[must_use]
    pub fn sink(mut self, sink: Sink) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Writes something else than JSON, for a person who looks on.
    #[must_use]
    pub fn format(mut self, format: impl Fn(&Fields) -> String + Send + Sync + 'static) -> Self {
        self.format = Some(Arc::new(format));
        self
    }

    /// The longest line. An event that would be longer keeps the layer's own fields and says what became of the
    /// others.
    #[must_use]
    pub fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.max_line_bytes = bytes;
        self
    }
}
