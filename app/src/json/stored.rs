//! Stored JSON that may not be readable.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;

use super::{MAX_JSON_DEPTH, fault_in, is_too_deep};
use crate::error::Result;

/// How often a value was read that can't be read, in this process.
static UNREADABLE_READS: AtomicU64 = AtomicU64::new(0);

/// Stands in place of stored JSON that can't be read. The row itself stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unreadable {
    /// Why not.
    pub reason: &'static str,
}

impl Unreadable {
    /// Deeper than a door takes.
    pub(crate) const TOO_DEEP: Self = Self {
        reason: "it is nested deeper than the service reads",
    };
    /// With a number out of range, or something else that PostgreSQL's JSON can hold and others can't read.
    pub(crate) const NO_JSON: Self = Self {
        reason: "it is not JSON that the service can read",
    };

    /// As a JSON value: `{"unreadable": {"reason": …}}`.
    pub(crate) fn placeholder(&self) -> Value {
        json!({ "unreadable": self })
    }

    /// Whether a value is a placeholder.
    pub(crate) fn is_placeholder(value: &Value) -> bool {
        let reason = &value["unreadable"]["reason"];
        [Self::TOO_DEEP.reason, Self::NO_JSON.reason]
            .iter()
            .any(|known| reason == known)
    }
}

/// How often a value was read that can't be read, in this process: for `/metrics`.
pub(crate) fn unreadable_reads() -> u64 {
    UNREADABLE_READS.load(Ordering::Relaxed)
}

/// A nullable JSON column, of at most `limit` levels.
///
/// # Errors
/// For a column that isn't there or isn't JSON: what a row holds is never an error.
pub(crate) fn read_column(row: &PgRow, column: &str, limit: usize) -> Result<Result<Option<Value>, Unreadable>> {
    let unreadable = match row.try_get::<Option<Value>, _>(column) {
        Ok(Some(value)) if is_too_deep(&value, limit) => Unreadable::TOO_DEEP,
        Ok(value) => return Ok(Ok(value)),
        Err(sqlx::Error::ColumnDecode { source, .. }) if source.is::<serde_json::Error>() => {
            // serde_json has no code for it.
            match source.to_string().starts_with("recursion limit exceeded") {
                true => Unreadable::TOO_DEEP,
                false => Unreadable::NO_JSON,
            }
        }
        Err(error) => return Err(error.into()),
    };
    UNREADABLE_READS.fetch_add(1, Ordering::Relaxed);
    Ok(Err(unreadable))
}

/// Counts values that were read as their placeholders, in this process.
pub(crate) fn count_unreadable_reads(values: u64) {
    UNREADABLE_READS.fetch_add(values, Ordering::Relaxed);
}

/// Whether stored JSON, as text, can't be read: the same as `unreadable_in_sql`.
pub(crate) fn is_unreadable(text: &[u8]) -> bool {
    // The doors are stricter in one thing: integers beyond 64 bits can be read.
    fault_in(text).is_some()
        && !serde_json::from_slice::<Value>(text).is_ok_and(|value| !is_too_deep(&value, MAX_JSON_DEPTH))
}
