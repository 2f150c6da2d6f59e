//! The errors of reading a client's value, and the field that each one names.
//!
//! serde reports what is wrong through the constructors of its trait for errors. [`ReadError`] keeps their arguments,
//! so no text has to be parsed. It doesn't keep the client's value, because the error is also written to the operator's
//! wide event.

use serde::de::{Error, Expected, Unexpected};
use serde_path_to_error::Path;

use crate::error::FieldError;

/// The name of the whole body, as in JSONPath.
const ROOT: &str = "$";
/// Maximum length of a field's path and of a detail. Both can contain names that a client has chosen.
const MAX_CHARS: usize = 300;

/// Why a value could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// The value is invalid, with the values that are expected.
    #[error("{0}")]
    Value(String),
    /// A required field is missing.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field is given more than once.
    #[error("the field {0} is given more than once")]
    Duplicate(&'static str),
    /// A field is unknown, with the fields that are known. The path ends with its name, unless serde has read the field
    /// from a buffer.
    #[error("the field {name} is unknown")]
    Unknown {
        name: String,
        known: &'static [&'static str],
    },
    /// The type can't be read from a URL: a defect of the handler.
    #[error("{0}")]
    Misuse(String),
}

impl ReadError {
    /// Returns the error for a value that is not of a type, by the words with which serde names the type.
    pub(super) fn expected(expected: &str) -> Self {
        Self::Value(format!("expected {}", in_words(expected)))
    }

    /// Returns the error of the field at this path, or below it.
    pub(super) fn at(&self, path: &Path) -> FieldError {
        let path = match path.to_string() {
            root if root == "." => String::new(),
            path => path,
        };
        let below = |name: &str| match path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let (field, detail) = match self {
            Self::Missing(name) => (below(name), "is missing, and required".to_owned()),
            Self::Duplicate(name) => (below(name), "is given more than once".to_owned()),
            Self::Unknown { name, known } => {
                let ends_with_name = path == *name || path.ends_with(&format!(".{name}"));
                let field = if ends_with_name { path } else { below(name) };
                match known {
                    [] => (field, "is unknown".to_owned()),
                    known => (field, format!("is unknown: expected {}", one_of(known))),
                }
            }
            Self::Value(detail) | Self::Misuse(detail) => (path, detail.clone()),
        };
        let field = if field.is_empty() { ROOT } else { &field };
        FieldError {
            field: shortened(field),
            detail: shortened(&detail),
        }
    }
}

impl Error for ReadError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        // serde has no other way to report an unknown field beside a flattened struct.
        let unknown = message
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.strip_suffix('`'));
        match unknown {
            Some(name) => Self::Unknown {
                name: name.to_owned(),
                known: &[],
            },
            None => Self::Value(message),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
            Unexpected::Float(_) => "a decimal number",
            Unexpected::Char(_) | Unexpected::Str(_) => "a string",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "a list",
            Unexpected::Map => "an object",
            _ => "another value",
        };
        Self::Value(format!("expected {}, found {found}", in_words(&expected.to_string())))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(&expected.to_string())
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        Self::Value(format!("expected {}, found {length} elements", in_words(&expected)))
    }

    fn unknown_variant(_: &str, variants: &'static [&'static str]) -> Self {
        Self::Value(format!("expected {}", one_of(variants)))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown {
            name: name.to_owned(),
            known,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Duplicate(field)
    }
}

/// Translates what serde expects: visitors name Rust's types. Other words are left as they are.
fn in_words(expected: &str) -> &str {
    match expected {
        "a map" => "an object",
        "a sequence" => "a list",
        "a boolean" | "bool" => "true or false",
        "u8" => "a whole number from 0 to 255",
        "i8" => "a whole number from -128 to 127",
        "u16" => "a whole number from 0 to 65535",
        "i16" => "a whole number from -32768 to 32767",
        "u32" => "a whole number of 32 bits, not below 0",
        "i32" => "a whole number of 32 bits",
        "u64" | "usize" => "a whole number of 64 bits, not below 0",
        "i64" | "isize" => "a whole number of 64 bits",
        "u128" => "a whole number of 128 bits, not below 0",
        "i128" => "a whole number of 128 bits",
        "f32" | "f64" => "a number",
        "char" => "a single character",
        _ if expected.starts_with("struct ") => "an object",
        _ if expected.starts_with("tuple ") => "a list",
        _ => expected,
    }
}

fn one_of(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.len() {
        0..=2 => quoted.join(" or "),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

/// Cuts a text that may contain a name of a client's choice.
fn shortened(text: &str) -> String {
    crate::text::cut(text, MAX_CHARS).into_owned()
}
