//! Reads stored JSON, which may be unreadable.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;

use super::limits::{MAX_JSON_DEPTH, is_too_deep};
use super::text::{after_number, after_string, is_portable_number};
use crate::error::Result;

/// The number of unreadable values that this process has read.
static UNREADABLE_READS: AtomicU64 = AtomicU64::new(0);

/// The reason why a placeholder is never written, as the end of a sentence.
pub const WRITES_PLACEHOLDER: &str =
    "stands for stored JSON that can't be read, and would replace it; leave it out of what is written";

/// Stands for stored JSON that can't be read. The stored row is not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unreadable {
    /// The reason why it can't be read.
    pub reason: &'static str,
}

impl Unreadable {
    /// It has more levels than an input may have.
    pub const TOO_DEEP: Self = Self {
        reason: "it is nested deeper than the service reads",
    };
    /// It has a number out of range, or something else that PostgreSQL's JSON can contain and other parsers can't read.
    pub const NO_JSON: Self = Self {
        reason: "it is not JSON that the service can read",
    };

    /// Returns the placeholder as a JSON value: `{"unreadable": {"reason": …}}`.
    pub fn placeholder(&self) -> Value {
        json!({ "unreadable": self })
    }

    /// Returns whether a value is exactly such a placeholder.
    pub fn is_placeholder(value: &Value) -> bool {
        let reason = only_field(value, "unreadable").and_then(|unreadable| only_field(unreadable, "reason"));
        reason.is_some_and(|reason| {
            [Self::TOO_DEEP.reason, Self::NO_JSON.reason]
                .iter()
                .any(|known| reason == known)
        })
    }
}

/// Returns the value of an object's field, if it has no other field.
fn only_field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.get(name)
}

/// Returns the number of unreadable values that this process has read, for `/metrics`.
pub fn unreadable_reads() -> u64 {
    UNREADABLE_READS.load(Ordering::Relaxed)
}

/// Reads a nullable JSON column whose values have at most `limit` levels.
///
/// # Errors
/// If the column doesn't exist or isn't JSON. The content of a row is never an error.
pub fn read_column(row: &PgRow, column: &str, limit: usize) -> Result<Result<Option<Value>, Unreadable>> {
    let unreadable = match row.try_get::<Option<Value>, _>(column) {
        Ok(Some(value)) if is_too_deep(&value, limit) => Unreadable::TOO_DEEP,
        Ok(value) => return Ok(Ok(value)),
        Err(sqlx::Error::ColumnDecode { source, .. }) if source.is::<serde_json::Error>() => {
            // serde_json has no error code for its limit of depth.
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
pub fn count_unreadable_reads(values: u64) {
    UNREADABLE_READS.fetch_add(values, Ordering::Relaxed);
}

/// Returns whether the text of a `jsonb` value can't be read; `unreadable_in_sql` is the same condition in SQL.
pub fn is_unreadable(jsonb: &[u8]) -> bool {
    // Only a value that may be unreadable is parsed. Integers beyond 64 bits, for example, are rejected as input, but
    // can be read.
    exceeds_input(jsonb)
        && !serde_json::from_slice::<Value>(jsonb).is_ok_and(|value| !is_too_deep(&value, MAX_JSON_DEPTH))
}

/// Returns whether a `jsonb` value has more levels or larger numbers than input may have.
///
/// Unlike `fault_in` it doesn't compare keys. An object of `jsonb` never has a key twice, and this function is called
/// for every value that is read.
fn exceeds_input(jsonb: &[u8]) -> bool {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = jsonb.get(at) {
        at = match byte {
            b'"' => after_string(jsonb, at),
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return true;
                }
                at + 1
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at + 1
            }
            b'-' | b'0'..=b'9' => {
                let end = after_number(jsonb, at);
                if !is_portable_number(jsonb.get(at..end).unwrap_or_default()) {
                    return true;
                }
                end
            }
            _ => at + 1,
        };
    }
    false
}

/// Returns an SQL condition that is true for a `jsonb` that can't be read: it is too deep, or it has a number beyond an
/// `f64`.
///
/// The innermost of 101 containers is at level 100 of the path.
pub fn unreadable_in_sql(jsonb: &str) -> String {
    format!(
        "(jsonb_path_exists({jsonb}, 'strict $.**{{{MAX_JSON_DEPTH}}} ? (@.type() == \"object\" || @.type() == \"array\")')
            OR jsonb_path_exists({jsonb}, 'strict $.** ? (@.type() == \"number\" && (@ > {max} || @ < -{max}))'))",
        max = "1.7976931348623157e308"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::fault_in;
    use crate::json::limits::nested;

    #[test]
    fn stored_json_is_unreadable_by_its_depth_and_numbers_alone() {
        for readable in [
            nested(MAX_JSON_DEPTH).to_string(),
            r#"{"a": "[[[1e999", "b": [-9223372036854775808, 1e308]}"#.to_owned(),
            // Not valid as input, but readable.
            "[18446744073709551616]".to_owned(),
        ] {
            assert!(!is_unreadable(readable.as_bytes()), "{readable}");
        }
        for unreadable in [
            nested(MAX_JSON_DEPTH + 1).to_string(),
            format!("{}{}", "[".repeat(140), "]".repeat(140)),
            r#"{"a": [1, {"b": -1e999}]}"#.to_owned(),
        ] {
            assert!(is_unreadable(unreadable.as_bytes()), "{unreadable}");
        }
        // PostgreSQL returns no such object, so `exceeds_input` doesn't search for it.
        assert!(!exceeds_input(br#"{"a": 1, "a": 2}"#) && fault_in(br#"{"a": 1, "a": 2}"#).is_some());
    }

    #[test]
    fn only_a_whole_placeholder_is_one() {
        for placeholder in [Unreadable::TOO_DEEP.placeholder(), Unreadable::NO_JSON.placeholder()] {
            assert!(Unreadable::is_placeholder(&placeholder));
            for other in [
                json!([placeholder]),
                json!({"unreadable": placeholder["unreadable"], "more": 1}),
                json!({"unreadable": {"reason": "another"}}),
                json!({"unreadable": {"reason": placeholder["unreadable"]["reason"], "more": 1}}),
                placeholder["unreadable"].clone(),
                Value::Null,
            ] {
                assert!(!Unreadable::is_placeholder(&other), "{other}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_to_their_end(jsonb in prop::collection::vec(any::<u8>(), 0..64)) {
            exceeds_input(&jsonb);
        }
    }
}
