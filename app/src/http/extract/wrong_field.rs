//! From serde's words to the field that is wrong.

use std::borrow::Cow;

use crate::error::FieldError;

/// How the whole of a body is called where no field of it is to blame, as in JSONPath.
const ROOT: &str = "$";
/// serde quotes what it found, which may be as long as the body.
const MAX_CHARS: usize = 300;

/// Which field is wrong, from the path that serde had come to and what it said there.
///
/// serde reports an unknown or a missing field at the object that has it or lacks it, and the field's name
/// only in words: those words are read here.
pub(super) fn wrong_field(path: &serde_path_to_error::Path, message: &str) -> FieldError {
    let at = path.to_string();
    let at = if at == "." { "" } else { at.as_str() };
    let message = without_position(message);
    if let Some(name) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        return FieldError {
            field: shortened(&below(at, name)),
            detail: "is missing, and required".to_owned(),
        };
    }
    if let Some(name) = message
        .strip_prefix("duplicate field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        return FieldError {
            field: shortened(&below(at, name)),
            detail: "is given more than once".to_owned(),
        };
    }
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (name, expected) = split_name(rest);
        // JSON's path has come to the unknown key already, a query's with flattened fields has not.
        let field = if ends_with_key(at, name) {
            at.to_owned()
        } else {
            below(at, name)
        };
        let detail = if expected.is_empty() {
            "is unknown".to_owned()
        } else {
            format!("is unknown: {expected}")
        };
        return FieldError {
            field: shortened(&field),
            detail: shortened(&detail),
        };
    }
    let field = if at.is_empty() { ROOT } else { at };
    FieldError {
        field: shortened(field),
        detail: shortened(&in_words_of_json(message)),
    }
}

/// serde says what it expected in words of Rust, at the end of what it says.
fn in_words_of_json(message: &str) -> Cow<'_, str> {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.into();
    };
    let expected = match expected.split(' ').next() {
        // Its fields by their places, which is not how JSON is written.
        Some("struct") => "an object",
        Some("u8" | "u16" | "u32" | "u64" | "usize") => "a whole number from 0 on",
        Some("i8" | "i16" | "i32" | "i64" | "isize") => "a whole number",
        Some("f32" | "f64") => "a number",
        _ => return message.into(),
    };
    format!("{found}, expected {expected}").into()
}

/// Splits ``name`, expected one of …`` behind the name, which is the client's and may hold anything.
fn split_name(rest: &str) -> (&str, &str) {
    for marker in ["`, expected ", "`, there are no fields"] {
        if let Some(at) = rest.find(marker) {
            return (&rest[..at], rest[at..].trim_start_matches("`, "));
        }
    }
    (rest.strip_suffix('`').unwrap_or(rest), "")
}

fn ends_with_key(path: &str, key: &str) -> bool {
    path.strip_suffix(key)
        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// serde_json appends ` at line 1 column 20`; the path says it better.
fn without_position(message: &str) -> &str {
    match message.rsplit_once(" at line ") {
        Some((words, position))
            if position.split_once(" column ").is_some_and(|(line, column)| {
                [line, column]
                    .iter()
                    .all(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
            }) =>
        {
            words
        }
        _ => message,
    }
}

fn shortened(text: &str) -> String {
    crate::text::cut(text, MAX_CHARS).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_taken_off_only_where_they_are() {
        assert_eq!(without_position("invalid type at line 3 column 20"), "invalid type");
        assert_eq!(without_position("meet me at line dancing"), "meet me at line dancing");
        assert_eq!(without_position("stand at line 3 column b"), "stand at line 3 column b");
    }

    #[test]
    fn what_was_expected_is_said_in_words_of_json() {
        for (said, words) in [
            (
                "invalid type: integer `7`, expected struct Campaign",
                "invalid type: integer `7`, expected an object",
            ),
            (
                "invalid length 0, expected struct Campaign with 2 elements",
                "invalid length 0, expected an object",
            ),
            (
                "invalid type: string \"x, expected struct y\", expected u32",
                "invalid type: string \"x, expected struct y\", expected a whole number from 0 on",
            ),
            (
                "invalid type: map, expected a string",
                "invalid type: map, expected a string",
            ),
            ("a sentence", "a sentence"),
        ] {
            assert_eq!(in_words_of_json(said), words);
        }
    }

    #[test]
    fn names_may_hold_anything() {
        assert_eq!(
            split_name("a, expected b`, expected one of `c`, `d`"),
            ("a, expected b", "expected one of `c`, `d`")
        );
        assert_eq!(split_name("a`b`, there are no fields"), ("a`b", "there are no fields"));
        assert_eq!(split_name("plain`"), ("plain", ""));
    }

    #[test]
    fn a_key_is_seen_only_as_a_whole() {
        assert!(ends_with_key("a.b", "b") && ends_with_key("b", "b"));
        assert!(!ends_with_key("ab", "b") && !ends_with_key("a", "b") && !ends_with_key("", "b"));
        assert_eq!(below("ids[3]", "name"), "ids[3].name");
        assert_eq!(below("", "name"), "name");
    }
}
