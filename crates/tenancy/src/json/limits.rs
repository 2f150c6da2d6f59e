//! The limit of the depth.

use serde_json::Value;

use crate::error::{Error, Result};

/// Maximum number of nested objects and lists in any input: `[]` has one level, `[{}]` two.
pub const MAX_JSON_DEPTH: usize = 100;

/// The number of levels that an event's payload adds around a recorded value: `{"changes": {"name": {"old": …}}}`.
pub const MAX_ENVELOPE_DEPTH: usize = 3;

/// Returns the error detail for JSON with more than [`MAX_JSON_DEPTH`] levels.
pub fn too_deep() -> String {
    format!("is nested more than {MAX_JSON_DEPTH} levels deep, which some JSON parsers refuse; send a flatter value")
}

/// Returns whether a value has more than `limit` levels of objects and lists.
pub fn is_too_deep(value: &Value, limit: usize) -> bool {
    let Some(inside) = limit.checked_sub(1) else {
        return value.is_array() || value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().any(|item| is_too_deep(item, inside)),
        Value::Object(fields) => fields.values().any(|field| is_too_deep(field, inside)),
        _ => false,
    }
}

/// Returns an error if a value has more than [`MAX_JSON_DEPTH`] levels.
///
/// # Errors
/// [`Error::Invalid`] that names the field.
pub fn refuse_too_deep(field: &str, value: &Value) -> Result<()> {
    match is_too_deep(value, MAX_JSON_DEPTH) {
        true => Err(Error::invalid(field, too_deep())),
        false => Ok(()),
    }
}

/// Creates a value with the given number of levels, for tests.
#[cfg(test)]
pub(super) fn nested(levels: usize) -> Value {
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
    fn the_deepest_input_can_be_read_inside_every_envelope() {
        // A page, its items, a message, its event, its changes, a change; and a group around it.
        const MAX_ANSWER_DEPTH: usize = 10;
        let deepest = nested(MAX_JSON_DEPTH + MAX_ENVELOPE_DEPTH + MAX_ANSWER_DEPTH).to_string();
        assert!(serde_json::from_str::<Value>(&deepest).is_ok());
    }
}
