//! Counts events by day, object type, event type and actor, in the table `event_counts`.
//!
//! A durable consumer counts them in batches. Each event is counted once, however often it is delivered. The counts can
//! be computed again from the events at any time, with the same result. They are read with SQL, under row-level
//! security: see `docs/analytics.md`.

mod consumer;
#[cfg(any(feature = "cli", feature = "testing"))]
mod rebuild;
mod store;

pub use consumer::count_events;
#[cfg(all(feature = "cli", not(feature = "testing")))]
pub(crate) use rebuild::rebuild;
#[cfg(feature = "testing")]
pub use rebuild::rebuild;
