//! The HTTP service, which combines the routes of all slices.
//!
//! `router` contains all routes, `middleware` all layers in order. [`Connections`] accepts sockets and limits their
//! number; [`AppState`] is the state of the routes.

mod connections;
mod head;
mod health;
mod idempotency;
mod metrics;
mod middleware;
mod openapi;
mod router;
mod state;
mod uploads;
mod wide_events;

pub use connections::{ConnectionCounts, ConnectionLimits, Connections, raise_descriptor_limit};
pub(crate) use router::router;
#[cfg(feature = "cli")]
pub(crate) use router::worker_router;
pub use state::AppState;
pub use wide_events::{event_schema, wide_event_config};
