//! JSON that every reader takes: how deep it may be, which numbers it may hold, and how stored JSON is read.
//!
//! serde_json, which reads all that the service stores, refuses JSON of 128 levels and numbers beyond an `f64`. Whatever
//! is stored must be readable with every envelope that a record, a page, a frame or a story adds around it. So each door
//! takes at most [`MAX_JSON_DEPTH`] levels: request bodies, events, jobs' inputs and actions, lines of runs. (Wide events
//! have the same limit, in a constant of their own, since their module knows nothing of this crate.)
//!
//! - `fault_in` checks text as it was sent: the depth is counted exactly, numbers are checked, and so is that no key comes
//!   twice in an object.
//! - `is_too_deep` checks values.
//! - `read_column` reads a column whose rows may have been written without these checks: by SQL, or by an older version.
//!   What can't be read is [`Unreadable`], never an error: one such row must not fail a page, a batch or a sweep.

mod keys;
mod stored;
mod text;

pub use stored::Unreadable;
pub(crate) use stored::{count_unreadable_reads, is_unreadable, read_column, unreadable_reads};
pub(crate) use text::fault_in;

use serde_json::Value;

use crate::error::{Error, Result};

/// How many levels of objects and lists JSON may have at any door: `[]` has one, `[{}]` two.
pub const MAX_JSON_DEPTH: usize = 100;

/// How many levels an event's payload adds around a value that it records: `{"changes": {"name": {"old": …}}}`.
pub(crate) const MAX_ENVELOPE_DEPTH: usize = 3;

/// What is said of JSON beyond [`MAX_JSON_DEPTH`].
pub(crate) fn too_deep() -> String {
    format!("is nested more than {MAX_JSON_DEPTH} levels deep, which not every reader of JSON takes; keep it flatter")
}

/// Whether a value has more than `limit` levels of objects and lists.
pub(crate) fn is_too_deep(value: &Value, limit: usize) -> bool {
    let Some(inside) = limit.checked_sub(1) else {
        return value.is_array() || value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().any(|item| is_too_deep(item, inside)),
        Value::Object(fields) => fields.values().any(|field| is_too_deep(field, inside)),
        _ => false,
    }
}

/// Refuses a value of more than [`MAX_JSON_DEPTH`] levels.
///
/// # Errors
/// [`Error::Invalid`] that names the field.
pub(crate) fn refuse_too_deep(field: &str, value: &Value) -> Result<()> {
    match is_too_deep(value, MAX_JSON_DEPTH) {
        true => Err(Error::invalid(field, too_deep())),
        false => Ok(()),
    }
}

/// SQL that is true for a `jsonb` that can't be read: too deep, or with a number beyond an `f64`.
///
/// The innermost of 101 containers is at the path's level 100.
pub(crate) fn unreadable_in_sql(jsonb: &str) -> String {
    format!(
        "(jsonb_path_exists({jsonb}, 'strict $.**{{{MAX_JSON_DEPTH}}} ? (@.type() == \"object\" || @.type() == \"array\")')
            OR jsonb_path_exists({jsonb}, 'strict $.** ? (@.type() == \"number\" && (@ > {max} || @ < -{max}))'))",
        max = "1.7976931348623157e308"
    )
}

/// A value of so many levels, for tests.
#[cfg(test)]
pub(crate) fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inside, level| match level {
        0 => Value::Array(Vec::new()),
        _ => Value::Array(vec![inside]),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn levels_are_counted_exactly() {
        assert!(!is_too_deep(&json!(1), 0) && is_too_deep(&json!([]), 0));
        assert!(!is_too_deep(&json!([{}]), 2) && is_too_deep(&json!([{}]), 1));
        assert!(!is_too_deep(&json!({"a": [1, {"b": 2}]}), 3) && is_too_deep(&json!({"a": [1, {"b": 2}]}), 2));
        assert!(!is_too_deep(&nested(MAX_JSON_DEPTH), MAX_JSON_DEPTH));
        assert!(refuse_too_deep("x", &nested(MAX_JSON_DEPTH)).is_ok());
        let refused = refuse_too_deep("x", &nested(MAX_JSON_DEPTH + 1)).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("x: is nested more than 100 levels deep")
        );
    }

    #[test]
    fn what_a_door_takes_can_be_read_with_every_envelope() {
        // A page, its items, a message, its event, its changes, a change; and a group around it.
        const MAX_ANSWER_DEPTH: usize = 10;
        let deepest = nested(MAX_JSON_DEPTH + MAX_ENVELOPE_DEPTH + MAX_ANSWER_DEPTH).to_string();
        assert!(serde_json::from_str::<Value>(&deepest).is_ok());
    }
}
