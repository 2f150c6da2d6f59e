//! One event for every request: a single JSON line that has everything.
//!
//! [`WideEventLayer`] gives each request an event when it arrives. Whoever handles it adds fields meanwhile, by
//! [`WideEvent`]. When the request is over, however that comes (`outcome`), the event is finalized, taken out of reach,
//! redacted, validated, sampled and handed to the [`Sink`], in this order.
//!
//! ```text
//! request ─► Watch + Unit ──► handler: event.set(…) ──► response body ─► drop ─► pipeline ─► queue ─► stdout
//!            (layer.rs)       (event.rs)                (body.rs)                (pipeline.rs) (sink.rs)
//! ```
//!
//! **Invariant:** one event for one request. A request under watch is a value with a `Drop`: it moves from the
//! answer's future into the answer's body, and whoever drops it, hyper after the last byte, a closed connection, an
//! unwinding panic, ends the event. There is no second way.
//!
//! **Invariant:** a request never waits for its event: neither for stdout nor for a schema that doesn't fit.
//!
//! What is deliberately absent: an exporter (whatever ships stdout does that), and any knowledge of the service that
//! uses it. It names nothing outside this folder and could be a crate of its own.

mod body;
mod bounded;
mod config;
mod core_schema;
mod error;
mod event;
mod extract;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod gathered;
mod head;
mod ids;
mod json;
mod layer;
mod outcome;
mod own;
mod pipeline;
mod redaction;
mod sampling;
mod schema;
mod ser;
mod sink;
mod spare;

pub use body::WatchedBody;
pub use config::WideEventConfig;
pub use core_schema::core_schema;
pub use error::EventError;
pub use event::WideEvent;
pub use fields::{Fields, MAX_DEPTH, MAX_FIELDS, Value};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzz::fuzz_ids;
pub use ids::RequestIds;
pub use layer::{Answering, WideEventLayer, WideEventService};
pub use outcome::Outcome;
pub use pipeline::{WideEventCounts, WideEvents};
pub use redaction::{BadHashKey, Detector, HashKey, Redaction, Sensitive, Treatment};
pub use sampling::Sampling;
pub use schema::{BadSchema, EventSchema};
pub use ser::NoJson;
pub use sink::{Sink, SinkCounts};
