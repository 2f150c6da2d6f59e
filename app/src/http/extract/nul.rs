//! U+0000: text in JSON and in URLs may hold it, text in Postgres can't.

use serde_json::Value;

use crate::error::{Error, FieldError, Result};

/// How U+0000 is written in JSON behind a backslash; written as it is, it is a syntax error.
const ESCAPE: &[u8] = b"u0000";
/// More places than this help nobody.
const MAX_REPORTED: usize = 20;

/// Refuses U+0000 in any string or key, by its path.
///
/// Only a body with the escape in it is looked at closely. (`"\\u0000"`, a backslash and letters, is fine.)
pub(super) fn refuse_nul(bytes: &[u8]) -> Result<()> {
    if !bytes
        .split(|byte| *byte == b'\\')
        .skip(1)
        .any(|behind| behind.starts_with(ESCAPE))
    {
        return Ok(());
    }
    // What isn't JSON at all is told by the reader proper.
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return Ok(());
    };
    let mut found = Vec::new();
    find_nul(&value, &mut String::new(), &mut found);
    if found.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(found))
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

/// What is said of U+0000 in a field.
pub(super) fn contains_nul(field: &str) -> FieldError {
    let field = if field.is_empty() { "$" } else { field };
    FieldError {
        field: field.to_owned(),
        detail: "contains U+0000, which can't be stored".to_owned(),
    }
}
