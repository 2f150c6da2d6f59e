//! Events: what the `*_with_event` helpers write, compare, record and refuse.

mod bulk;
mod column_types;
mod instants;
mod refused;
mod restored;
mod round_trips;
mod scopes;
mod sentences;
mod single;
mod timestamps;
mod typed;
