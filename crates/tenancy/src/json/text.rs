//! Finds faults in JSON text that some parsers refuse, and their paths.

use super::keys::OpenKeys;
use super::limits::{MAX_JSON_DEPTH, too_deep};
use crate::error::FieldError;

/// Maximum length of a path, in characters. A longer one is cut.
const MAX_PATH_CHARS: usize = 200;

/// Integers up to this length always fit into 64 bits.
const MAX_SAFE_DIGITS: usize = 18;

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    TooDeep,
    Number,
    DoubledKey,
}

/// Returns the first fault in JSON text, with its path (`$` for the whole text). A fault is one of:
///
/// - more than [`MAX_JSON_DEPTH`] levels,
/// - a number that is not a finite `f64`, or an integer that doesn't fit into 64 bits,
/// - a key that an object has twice, because parsers then differ in which value they use (RFC 8259 §4).
///
/// It doesn't report syntax errors: the parser does.
pub fn fault_in(text: &[u8]) -> Option<FieldError> {
    let (fault, at) = scan(text)?;
    let detail = match fault {
        Fault::TooDeep => too_deep(),
        Fault::Number => "is a number that some JSON parsers can't represent: it must be a 64-bit integer or a finite \
                          double-precision number; send it as a string"
            .to_owned(),
        Fault::DoubledKey => "is given more than once".to_owned(),
    };
    Some(FieldError {
        field: path_to(text, at),
        detail,
    })
}

/// Finds the first fault, and its offset.
fn scan(text: &[u8]) -> Option<(Fault, usize)> {
    let mut keys = OpenKeys::default();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let end = after_string(text, at);
                if keys.is_key_next(depth)
                    && let Some(doubled) = keys.add(depth, text, at..end)
                {
                    return Some((Fault::DoubledKey, doubled));
                }
                at = end;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return Some((Fault::TooDeep, at));
                }
                keys.open(depth, *byte == b'{');
                at += 1;
            }
            b'}' | b']' => {
                if let Some(doubled) = keys.close(depth) {
                    return Some((Fault::DoubledKey, doubled));
                }
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b',' => {
                keys.next_field(depth);
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let end = after_number(text, at);
                if !is_portable_number(text.get(at..end).unwrap_or_default()) {
                    return Some((Fault::Number, at));
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    None
}

/// Returns the offset of the end of the string that begins at `begin`.
pub(super) fn after_string(text: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(found) if rest.get(found) == Some(&b'"') => return at + found + 1,
            Some(found) => at += found + 2,
            None => return text.len(),
        }
    }
}

pub(super) fn after_number(text: &[u8], begin: usize) -> usize {
    let rest = text.get(begin..).unwrap_or_default();
    let length = rest
        .iter()
        .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
    begin + length.unwrap_or(rest.len())
}

pub(super) fn is_portable_number(number: &[u8]) -> bool {
    let is_whole = !number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    if is_whole && number.len() <= MAX_SAFE_DIGITS {
        return true;
    }
    let Ok(text) = std::str::from_utf8(number) else {
        return true;
    };
    match is_whole {
        true => text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok(),
        // If it isn't a number at all, the parser reports it.
        false => text.parse::<f64>().is_ok_and(f64::is_finite) || text.parse::<f64>().is_err(),
    }
}

/// A container that contains the current position.
enum Open<'a> {
    Object {
        key: &'a [u8],
        /// Whether the next string is a key.
        in_key: bool,
    },
    Array(usize),
}

/// Returns the path of the value at offset `target`, such as `labels[1].text`.
fn path_to(text: &[u8], target: usize) -> String {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut at = 0;
    while at < target {
        let Some(byte) = text.get(at) else { break };
        let mut next = at + 1;
        match byte {
            b'{' => open.push(Open::Object { key: &[], in_key: true }),
            b'[' => open.push(Open::Array(0)),
            b'}' | b']' => {
                open.pop();
            }
            b',' => match open.last_mut() {
                Some(Open::Object { in_key, .. }) => *in_key = true,
                Some(Open::Array(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                next = after_string(text, at);
                if let Some(Open::Object { key, in_key }) = open.last_mut()
                    && std::mem::take(in_key)
                {
                    *key = text.get(at..next).unwrap_or_default();
                }
            }
            _ => {}
        }
        at = next;
    }
    let mut path = String::new();
    for container in &open {
        match container {
            Open::Object { key, .. } => {
                let key = serde_json::from_slice::<String>(key).unwrap_or_default();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&key.replace('\0', "\u{FFFD}"));
            }
            Open::Array(index) => path.push_str(&format!("[{index}]")),
        }
        if path.chars().count() > MAX_PATH_CHARS {
            return path.chars().take(MAX_PATH_CHARS).chain(['…']).collect();
        }
    }
    if path.is_empty() { "$".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::json::limits::{is_too_deep, nested};

    fn field(text: &str) -> Option<String> {
        fault_in(text.as_bytes()).map(|fault| fault.field)
    }

    #[test]
    fn the_depth_is_counted_exactly_and_not_in_strings() {
        assert_eq!(field(&nested(MAX_JSON_DEPTH).to_string()), None);
        assert!(
            field(&nested(MAX_JSON_DEPTH + 1).to_string())
                .unwrap()
                .starts_with("[0][0]")
        );
        let brackets = format!(r#"{{"a":"{}\"{}"}}"#, "[".repeat(200), "{".repeat(200));
        assert_eq!(field(&brackets), None);
        let wide = format!("[{}]", vec!["[]"; 500].join(","));
        assert_eq!(field(&wide), None);
        // 121 levels. A text with fewer levels may have the same number of brackets.
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(120), "]".repeat(120));
        assert!(field(&deep).unwrap().starts_with("a[0][0]"));
    }

    #[test]
    fn numbers_that_some_parsers_refuse_are_reported_with_their_path() {
        for good in [
            "0",
            "-0",
            "18446744073709551615",
            "-9223372036854775808",
            "1e308",
            "1.7976931348623157e308",
            "0.1234567890123456789012345678901234567890",
            "1e-999",
            r#"{"a":"1e999"}"#,
        ] {
            assert_eq!(field(good), None, "{good}");
        }
        for (wrong, path) in [
            ("1e999", "$"),
            (r#"{"a":1e999}"#, "a"),
            (r#"{"a":[1,{"b":-1E+400}]}"#, "a[1].b"),
            (r#"{"x":{"y":1},"n":18446744073709551616}"#, "n"),
            (r#"[-9223372036854775809]"#, "[0]"),
            (r#"{"a\"b":{"c":[[],[0,2e308]]}}"#, "a\"b.c[1][1]"),
        ] {
            assert_eq!(field(wrong).as_deref(), Some(path), "{wrong}");
        }
        let digits = format!("[{}]", "9".repeat(400));
        assert_eq!(field(&digits).as_deref(), Some("[0]"));
    }

    #[test]
    fn duplicate_keys_are_reported_with_their_path() {
        let many: String = (0..40).map(|n| format!(r#""k{n}":{n},"#)).collect();
        for good in [
            r#"{"a":{"a":1},"b":{"a":[{"a":1},{"a":2}]}}"#.to_owned(),
            r#"{"a":"a","b":["a","a"],"A":1}"#.to_owned(),
            format!(r#"[{{{many}"z":0}},{{{many}"z":0}}]"#),
        ] {
            assert_eq!(field(&good), None, "{good}");
        }
        for (wrong, path) in [
            (r#"{"a":1,"b":2,"a":3}"#.to_owned(), "a"),
            (r#"{"a":1,"\u0061":3}"#.to_owned(), "a"),
            (r#"{"x":[0,{"b":{},"b":[]}]}"#.to_owned(), "x[1].b"),
            (format!(r#"{{"x":{{{many}"y":0,"k7":0}}}}"#), "x.k7"),
        ] {
            assert_eq!(field(&wrong).as_deref(), Some(path), "{wrong}");
        }
    }

    #[test]
    fn invalid_json_does_not_panic() {
        for text in [
            "",
            "\"",
            "\"\\",
            "{\"a",
            "]]]]",
            "{,,}",
            "-",
            "1e",
            "[\"\\",
            "{\"a\":-+e.}",
        ] {
            fault_in(text.as_bytes());
        }
        fault_in(&[0xff, b'"', 0xfe, b'\\']);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[\\[\\]{}\\\\\",:a]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[\\[{\\\\\"a]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn text_and_value_have_the_same_depth(inside in json(), around in 90_usize..105) {
            let value = (0..around).fold(inside, |inside, _| Value::Array(vec![inside]));
            let refused = fault_in(value.to_string().as_bytes()).is_some();
            prop_assert_eq!(refused, is_too_deep(&value, MAX_JSON_DEPTH));
        }

        #[test]
        fn any_bytes_do_not_panic(text in prop::collection::vec(any::<u8>(), 0..64)) {
            fault_in(&text);
        }
    }
}
