//! The common form in which events have errors of any type.

use std::borrow::Cow;
use std::error::Error;

use super::bounded::{MAX_ERROR_TEXT_BYTES, bounded};
use super::fields::{Fields, Value};

/// Maximum number of causes of an error that an event has.
const MAX_CAUSES: usize = 16;

/// An error in an event: its type, its message, a code for programs, whether a retry can help, and its causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventError {
    kind: Cow<'static, str>,
    message: String,
    code: Option<Cow<'static, str>>,
    retriable: Option<bool>,
    causes: Vec<String>,
}

impl EventError {
    /// Creates an error from its type's name and its message.
    pub fn new(kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: without_database_message(message.into()),
            code: None,
            retriable: None,
            causes: Vec::new(),
        }
    }

    /// Sets a stable code for programs.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Sets whether the same request may succeed later.
    #[must_use]
    pub fn retriable(mut self, retriable: bool) -> Self {
        self.retriable = Some(retriable);
        self
    }

    /// Adds the sources of `error` as causes, outermost first, without `error` itself.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = error.source();
        while let Some(source) = next {
            let message = without_database_message(source.to_string());
            // Some errors repeat their source's message. Such a source is left out.
            if self.causes.last().is_none_or(|last| !last.contains(&message)) {
                self.causes.push(message);
            }
            next = source.source();
        }
        self
    }

    /// Adds a cause as text.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(without_database_message(cause.into()));
        self
    }
}

/// The prefix of PostgreSQL's message in an sqlx error. The message is left out, since it quotes values that were
/// refused.
const DATABASE_ERROR_PREFIX: &str = "error returned from database: ";

fn without_database_message(mut message: String) -> String {
    if let Some(at) = message.find(DATABASE_ERROR_PREFIX) {
        message.truncate(at + DATABASE_ERROR_PREFIX.len());
        message.push('…');
    }
    message
}

impl<E: Error + 'static> From<&E> for EventError {
    /// Takes the type's name without its path, the `Display` text, and the sources.
    fn from(error: &E) -> Self {
        let path = std::any::type_name::<E>();
        let own = path.split('<').next().unwrap_or(path);
        let name = own.rsplit("::").next().unwrap_or(own);
        Self::new(name, error.to_string()).caused_by(error)
    }
}

impl From<&(dyn Error + Send + Sync + 'static)> for EventError {
    /// Takes the `Display` text and the sources of an error whose type is not known, such as a boxed one: `&*error`.
    fn from(error: &(dyn Error + Send + Sync + 'static)) -> Self {
        Self::new("Error", error.to_string()).caused_by(error)
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
    fn messages_of_the_database_are_left_out() {
        let source = std::io::Error::other("error returned from database: bad inet: \"SECRET\"");
        let event = EventError::from(&PaymentFailed(source, 1_u8)).because("x: error returned from database: SECRET");
        let json = serde_json::Value::from(&Value::from(event)).to_string();
        assert!(!json.contains("SECRET"), "{json}");
    }

    #[test]
    fn an_error_has_its_types_name_its_message_and_its_causes() {
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

    #[test]
    fn a_boxed_error_keeps_its_text_and_sources() {
        let inner = std::io::Error::other("disk is full");
        let boxed: Box<dyn Error + Send + Sync> = Box::new(std::io::Error::other(inner));
        let error = EventError::from(&*boxed);
        assert_eq!((&*error.kind, &*error.message), ("Error", "disk is full"));
    }
}
