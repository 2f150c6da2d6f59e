//! Serializes an event as a JSON line. `serde_json` takes twice as long, because it checks every string byte by byte
//! for characters to escape, and hardly any string has one.

use std::ops::Range;

use super::fields::{Fields, Name, Value};

/// Appends `value` to `line`.
pub(super) fn write(value: &Value, line: &mut Vec<u8>) {
    match value {
        Value::Null => line.extend_from_slice(b"null"),
        Value::Bool(true) => line.extend_from_slice(b"true"),
        Value::Bool(false) => line.extend_from_slice(b"false"),
        Value::String(text) => write_text(text, line),
        Value::Object(fields) => write_object(fields, line),
        Value::Array(items) => {
            line.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    line.push(b',');
                }
                write(item, line);
            }
            line.push(b']');
        }
        Value::Number(number) => write_with_serde_json(number, line),
    }
}

/// Appends an object to `line`, with its fields in the order of `parts`.
pub(super) fn write_event(fields: &Fields, parts: &[Range<usize>], line: &mut Vec<u8>) {
    line.push(b'{');
    let begins = line.len();
    for part in parts {
        let part = fields.entries().get(part.clone()).unwrap_or_default();
        if !part.is_empty() && line.len() > begins {
            line.push(b',');
        }
        write_fields(part, line);
    }
    line.push(b'}');
}

fn write_object(fields: &Fields, line: &mut Vec<u8>) {
    line.push(b'{');
    write_fields(fields.entries(), line);
    line.push(b'}');
}

fn write_fields(entries: &[(Name, Value)], line: &mut Vec<u8>) {
    for (at, (name, value)) in entries.iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        write_text(name, line);
        line.push(b':');
        write(value, line);
    }
}

fn write_text(text: &str, line: &mut Vec<u8>) {
    // No early return, so that the compiler can vectorize this loop.
    let plain = text.bytes().fold(true, |plain, byte| {
        plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\')
    });
    if plain {
        line.reserve(text.len() + 2);
        line.push(b'"');
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
    } else {
        write_with_serde_json(text, line);
    }
}

fn write_with_serde_json<T: serde::Serialize + ?Sized>(value: &T, line: &mut Vec<u8>) {
    // This can't fail: strings and finite numbers are valid JSON, and writing to memory doesn't fail.
    let _ = serde_json::to_writer(line, value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Generates any JSON value.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
            "[ -~\n\t\"\\\\]{0,40}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_line_is_the_same_as_serde_jsons(value in json()) {
            let mut line = Vec::new();
            write(&Value::from(value.clone()), &mut line);
            prop_assert_eq!(String::from_utf8(line).unwrap(), value.to_string());
        }

        #[test]
        fn an_event_is_the_same_object_in_another_order(value in json(), first in 0_usize..8) {
            let event = Value::from(value);
            let Value::Object(fields) = &event else {
                return Ok(());
            };
            let mut line = Vec::new();
            let first = first.min(fields.len());
            write_event(fields, &[first..fields.len(), 0..0, 0..first], &mut line);
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(read, serde_json::Value::from(&event));
        }
    }
}
