//! Recording: what the `*_with_event` helpers write, compare, record and refuse.

mod bulk;
mod refused;
mod round_trips;
mod sentences;
mod single;
mod typed;
