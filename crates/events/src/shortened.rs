//! Recognises values that the database has shortened (`daybook_short_json`) so that a page of a list has a bounded
//! size.

use serde_json::Value;

/// The lengths to which the database cuts a value: the second one if too many values are long.
const SHORTENED_CHARS: [usize; 2] = [2_000, 100];

/// Returns whether a recorded value is only the beginning of a longer one.
///
/// It also returns true for a complete text of exactly one character more than the limit that ends with an ellipsis.
pub(super) fn is_shortened(value: &Value) -> bool {
    let Value::String(text) = value else { return false };
    text.strip_suffix('…')
        .is_some_and(|text| SHORTENED_CHARS.contains(&text.chars().count()))
}
