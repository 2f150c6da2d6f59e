//! The HTTP service that is built on the slices.
//!
//! `router` holds every route on one screen, `middleware` every layer in order. [`Connections`] accepts sockets and limits
//! them; [`AppState`] is what the routes are served with.

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
pub use router::{router, worker_router};
pub use state::AppState;
pub use wide_events::{event_schema, sentence, wide_event_config};
