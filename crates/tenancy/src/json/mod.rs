//! Limits the depth, the numbers and the keys of JSON, so that every parser can read it. Also reads stored JSON.
//!
//! The service reads stored JSON with serde_json, which refuses JSON of 128 levels and numbers beyond an `f64`. Stored
//! JSON must be readable together with the levels that a record, a page, a frame or a story adds around it. Therefore
//! every input is limited to [`MAX_JSON_DEPTH`] levels: request bodies, events, inputs and actions of jobs, lines of
//! runs. (Wide events have the same limit in their own constant, because their crate doesn't depend on this one.)
//!
//! - `fault_in` checks text as it was sent: the depth, the numbers, and that no object has the same key twice.
//! - `is_too_deep` checks values.
//! - `read_column` reads a column whose rows may have been written without these checks, by SQL or by an older version.
//!   A value that can't be read becomes [`Unreadable`] and is never an error: one such row must not make a page, a
//!   batch or a sweep fail.

mod keys;
mod limits;
mod stored;
mod text;

pub use limits::{MAX_ENVELOPE_DEPTH, MAX_JSON_DEPTH, is_too_deep, refuse_too_deep, too_deep};
pub use stored::Unreadable;
pub use stored::{
    WRITES_PLACEHOLDER, count_unreadable_reads, is_unreadable, read_column, unreadable_in_sql, unreadable_reads,
};
pub use text::fault_in;
