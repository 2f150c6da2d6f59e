//! Values that the database has shortened (`daybook_short_json`), so that a page of a list has a bounded size.

use serde_json::Value;

/// The lengths at which a value is cut: the second one where too many are long.
const SHORTENED_CHARS: [usize; 2] = [2_000, 100];

/// Whether a recorded value is the beginning of a longer one.
///
/// A text of just one character more than the limit that ends in an ellipsis itself is taken for one, too.
pub(super) fn is_shortened(value: &Value) -> bool {
    let Value::String(text) = value else { return false };
    text.strip_suffix('…')
        .is_some_and(|text| SHORTENED_CHARS.contains(&text.chars().count()))
}
