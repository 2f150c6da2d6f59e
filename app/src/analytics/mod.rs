//! How often what happened: events counted by day, object type, event type and actor, in `event_counts`.
//!
//! A durable consumer counts them, a slice at a time, each event once, however often it is delivered. The counts can be
//! made anew from the events at any time, and are the same. They are read with SQL, under row-level security: see
//! `docs/analytics.md`.

mod consumer;
mod store;

pub use consumer::count_events;
pub use store::rebuild;
