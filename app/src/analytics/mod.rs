//! Counts events by day, object type, event type and actor, in the table `event_counts`.
//!
//! A durable consumer counts them in batches. Each event is counted once, however often it is delivered. The counts can
//! be computed again from the events at any time, with the same result. They are read with SQL, under row-level
//! security: see `docs/analytics.md`.

mod consumer;
mod rebuild;
mod store;

pub use consumer::count_events;
pub use rebuild::rebuild;
