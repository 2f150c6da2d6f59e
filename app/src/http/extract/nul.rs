//! U+0000: text in JSON and in URLs may contain it, but PostgreSQL can't store it.

use serde_json::Value;

use crate::error::{Error, FieldError, Result};

/// The escape of U+0000 in JSON, without its backslash. An unescaped U+0000 is a syntax error.
const ESCAPE: &[u8] = b"u0000";
/// Maximum number of fields that one error reports.
const MAX_REPORTED: usize = 20;

/// Refuses U+0000 in any string or key of a body, by its path.
///
/// The value is searched only if the text has the escape. (`"\\u0000"`, a backslash and letters, is valid.)
pub(super) fn refuse_nul(text: &[u8], value: &Value) -> Result<()> {
    let mut after_backslashes = text.split(|byte| *byte == b'\\').skip(1);
    let mut found = Vec::new();
    if after_backslashes.any(|after| after.starts_with(ESCAPE)) {
        find_nul(value, &mut String::new(), &mut found);
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(Error::Invalid(found)),
    }
}

fn find_nul(value: &Value, path: &mut String, found: &mut Vec<FieldError>) {
    if found.len() >= MAX_REPORTED {
        return;
    }
    let length = path.len();
    match value {
        Value::String(text) if text.contains('\0') => found.push(contains_nul(path)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                find_nul(item, path, found);
                path.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&name.replace('\0', "\u{FFFD}"));
                if name.contains('\0') {
                    found.push(contains_nul(path));
                }
                find_nul(field, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Returns the error for U+0000 in a field.
pub(super) fn contains_nul(field: &str) -> FieldError {
    let field = if field.is_empty() { "$" } else { field };
    FieldError {
        field: field.to_owned(),
        detail: "contains U+0000, which can't be stored".to_owned(),
    }
}
