#![doc = include_str!("../README.md")]
//!
//! # How an event is made
//!
//! When a request ends, in whatever way ([`Outcome`]), its event is finalized, snapshotted, redacted, validated,
//! sampled and passed to the [`Sink`], in this order.
//!
//! ```text
//! request ─► EventGuard + EventScope ─► handler: event.set(…) ─► response body ─► drop ─► pipeline ─► buffer ─► stdout
//!            (layer.rs)   (event.rs)                             (body.rs)                (pipeline.rs) (sink.rs)
//! ```
//!
//! **Invariant:** each request has exactly one event. The layer holds an `EventGuard` for each request. The guard moves
//! from the answer's future into the answer's body, and its drop ends the event. hyper drops the body after the last
//! byte, or when the connection closes. An unwinding panic drops it, too. An event can't end in any other way.
//!
//! **Invariant:** a request never waits for its event, neither for a slow stdout nor because of a schema error.
//!
//! Deliberately absent: an exporter, because other programs ship stdout, and any knowledge of the service that uses
//! this crate.

#![deny(missing_docs)]

mod axum_extensions;
mod body;
mod bounded;
mod buffer_pool;
mod config;
mod core_schema;
mod draft;
mod error;
mod event;
mod extract;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
mod head;
mod ids;
mod json;
mod layer;
mod machine_time;
mod outcome;
mod pipeline;
mod redaction;
mod reserved_names;
mod sampling;
#[cfg(feature = "schema")]
mod schema;
mod ser;
mod sink;

pub use body::ResponseBody;
pub use config::WideEventConfig;
pub use core_schema::core_schema;
pub use error::EventError;
pub use event::WideEvent;
pub use fields::{Fields, MAX_DEPTH, MAX_FIELDS, Value};
/// For the fuzz targets of this repository, not for other programs.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use fuzz::fuzz_ids;
pub use ids::RequestIds;
pub use layer::{ResponseFuture, WideEventLayer, WideEventService};
pub use outcome::Outcome;
pub use pipeline::{WideEventCounts, WideEvents};
pub use redaction::{BadHashKey, Detector, HashKey, Redaction, Sensitive, Treatment};
pub use sampling::Sampling;
#[cfg(feature = "schema")]
pub use schema::{BadSchema, EventSchema};
pub use ser::NotJson;
pub use sink::{Sink, SinkCounts};
