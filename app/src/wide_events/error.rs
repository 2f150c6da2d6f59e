//! Errors in one shape, whatever their type.

use std::borrow::Cow;
use std::error::Error;

use super::bounded::{MAX_ERROR_TEXT_BYTES, bounded};
use super::fields::{Fields, Value};

/// As many causes of an error as an event has.
const MAX_CAUSES: usize = 16;

/// An error as events have it: its type, its words, a code for programs, whether to try again, and what caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventError {
    kind: Cow<'static, str>,
    message: String,
    code: Option<Cow<'static, str>>,
    retriable: Option<bool>,
    causes: Vec<String>,
}

impl EventError {
    /// An error by its type's name and its words.
    pub fn new(kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: without_database_words(message.into()),
            code: None,
            retriable: None,
            causes: Vec::new(),
        }
    }

    /// A stable word for programs.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Whether the same request may well succeed later.
    #[must_use]
    pub fn retriable(mut self, retriable: bool) -> Self {
        self.retriable = Some(retriable);
        self
    }

    /// What caused it, outermost first, each once: `error`'s sources, without `error` itself.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = error.source();
        while let Some(source) = next {
            let words = without_database_words(source.to_string());
            // Errors that pass their source's words on would say everything twice.
            if self.causes.last().is_none_or(|last| !last.contains(&words)) {
                self.causes.push(words);
            }
            next = source.source();
        }
        self
    }

    /// A cause in words.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(without_database_words(cause.into()));
        self
    }
}

/// What sqlx quotes of a database begins so; PostgreSQL's messages quote the values that it refused.
const DATABASE_SAYS: &str = "error returned from database: ";

fn without_database_words(mut words: String) -> String {
    if let Some(at) = words.find(DATABASE_SAYS) {
        words.truncate(at + DATABASE_SAYS.len());
        words.push('…');
    }
    words
}

impl<E: Error + 'static> From<&E> for EventError {
    /// Its type's own name without the path, its `Display`, and its sources.
    fn from(error: &E) -> Self {
        let path = std::any::type_name::<E>();
        let own = path.split('<').next().unwrap_or(path);
        let name = own.rsplit("::").next().unwrap_or(own);
        Self::new(name, error.to_string()).caused_by(error)
    }
}

impl From<EventError> for Value {
    fn from(error: EventError) -> Self {
        let mut fields = Fields::with_capacity(5);
        fields.push("type", Self::String(error.kind.into()));
        fields.push("message", bounded(&error.message, MAX_ERROR_TEXT_BYTES).into_owned());
        if let Some(code) = error.code {
            fields.push("code", Self::String(code.into()));
        }
        if let Some(retriable) = error.retriable {
            fields.push("retriable", retriable);
        }
        if !error.causes.is_empty() {
            fields.push(
                "causes",
                Self::Array(
                    error
                        .causes
                        .iter()
                        .take(MAX_CAUSES)
                        .map(|cause| Self::from(bounded(cause, MAX_ERROR_TEXT_BYTES).into_owned()))
                        .collect(),
                ),
            );
        }
        fields.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the payment failed")]
    struct PaymentFailed<T: std::fmt::Debug>(#[source] std::io::Error, T);

    #[test]
    fn what_the_database_said_is_left_out() {
        let source = std::io::Error::other("error returned from database: bad inet: \"SECRET\"");
        let event = EventError::from(&PaymentFailed(source, 1_u8)).because("x: error returned from database: SECRET");
        let told = serde_json::Value::from(&Value::from(event)).to_string();
        assert!(!told.contains("SECRET"), "{told}");
    }

    #[test]
    fn an_error_has_its_types_name_its_words_and_its_causes() {
        let source = std::io::Error::other("connection reset");
        let error = PaymentFailed(source, 1_u8);
        let event = EventError::from(&error).code("GATEWAY").retriable(true);
        assert_eq!(
            serde_json::Value::from(&Value::from(event)),
            json!({
                "type": "PaymentFailed", "message": "the payment failed", "code": "GATEWAY", "retriable": true,
                "causes": ["connection reset"],
            })
        );
    }
}
