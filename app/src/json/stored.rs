//! Reads stored JSON, which may be unreadable.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;

use super::{MAX_JSON_DEPTH, fault_in, is_too_deep};
use crate::error::Result;

/// The number of unreadable values that this process has read.
static UNREADABLE_READS: AtomicU64 = AtomicU64::new(0);

/// Replaces stored JSON that can't be read. The stored row is not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unreadable {
    /// The reason why it can't be read.
    pub reason: &'static str,
}

impl Unreadable {
    /// It has more levels than an input may have.
    pub(crate) const TOO_DEEP: Self = Self {
        reason: "it is nested deeper than the service reads",
    };
    /// It has a number out of range, or something else that PostgreSQL's JSON can contain and other parsers can't read.
    pub(crate) const NO_JSON: Self = Self {
        reason: "it is not JSON that the service can read",
    };

    /// Returns it as a JSON value: `{"unreadable": {"reason": …}}`.
    pub(crate) fn placeholder(&self) -> Value {
        json!({ "unreadable": self })
    }

    /// Returns whether a value is such a placeholder.
    pub(crate) fn is_placeholder(value: &Value) -> bool {
        let reason = &value["unreadable"]["reason"];
        [Self::TOO_DEEP.reason, Self::NO_JSON.reason]
            .iter()
            .any(|known| reason == known)
    }
}

/// Returns the number of unreadable values that this process has read, for `/metrics`.
pub(crate) fn unreadable_reads() -> u64 {
    UNREADABLE_READS.load(Ordering::Relaxed)
}

/// Reads a nullable JSON column whose values have at most `limit` levels.
///
/// # Errors
/// If the column doesn't exist or isn't JSON. The content of a row is never an error.
pub(crate) fn read_column(row: &PgRow, column: &str, limit: usize) -> Result<Result<Option<Value>, Unreadable>> {
    let unreadable = match row.try_get::<Option<Value>, _>(column) {
        Ok(Some(value)) if is_too_deep(&value, limit) => Unreadable::TOO_DEEP,
        Ok(value) => return Ok(Ok(value)),
        Err(sqlx::Error::ColumnDecode { source, .. }) if source.is::<serde_json::Error>() => {
            // serde_json has no error code for this.
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

/// Adds values that were read as placeholders to the count of this process.
pub(crate) fn count_unreadable_reads(values: u64) {
    UNREADABLE_READS.fetch_add(values, Ordering::Relaxed);
}

/// Returns whether stored JSON, as text, can't be read: the same condition as `unreadable_in_sql`.
pub(crate) fn is_unreadable(text: &[u8]) -> bool {
    // `fault_in` is stricter: it refuses integers beyond 64 bits, which can be read.
    fault_in(text).is_some()
        && !serde_json::from_slice::<Value>(text).is_ok_and(|value| !is_too_deep(&value, MAX_JSON_DEPTH))
}
