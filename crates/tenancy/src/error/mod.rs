//! The error type of the whole service, and the policy of what a client receives.
//!
//! A client receives what it can act on: a stable `code`, a status and a sentence. For invalid input
//! it also receives the field, what is wrong with it, and which values are valid. It never receives the database's
//! message. The cause is kept as `source()` for the operator (stderr, the request's wide event).
//!
//! An object of another team is [`Error::NotFound`], never "forbidden": a client must not learn that it exists.
//! The database's errors are classified in one place, [`Error::from_database`], by their SQLSTATE and their constraint.
//! Its messages quote values, so they are dropped, even for the operator: a [`DatabaseError`] has only codes and names.

mod classes;
mod database;

pub use classes::{Cause, Error, FieldError, Result, StoredOutcome};
pub use database::is_stale_plan;
pub use database::{DatabaseError, OutOfYears, without_database_words};
