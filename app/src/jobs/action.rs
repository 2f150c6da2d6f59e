//! Renders an action as the values of its row.

use std::fmt::Display;

use serde::Serialize;
use serde_json::Value;

use super::sentence::JobSentence;
use crate::error::{Error, Result};
use crate::json::refuse_too_deep;

/// Maximum size of an action's payload as JSON, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// An action, ready to be written as a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RenderedAction {
    pub(super) action_type: String,
    pub(super) sentence: JobSentence,
    pub(super) payload: Value,
    /// The size of the payload as JSON, in bytes.
    pub(super) size_bytes: usize,
}

impl RenderedAction {
    /// Renders an action of any type. Its `Display` output is the sentence. The action's type is the variant of an
    /// enum, the field `type`, or else the name of the Rust type.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the action can't be serialised as JSON, is larger than [`MAX_PAYLOAD_BYTES`], contains
    /// U+0000, or is nested too deep.
    pub(super) fn of<A: Serialize + Display>(action: &A) -> Result<Self> {
        let payload = serde_json::to_value(action)
            .map_err(|error| Error::invalid("payload", format!("the action can't be serialised as JSON: {error}")))?;
        let size = payload.to_string().len();
        if size > MAX_PAYLOAD_BYTES {
            return Err(Error::invalid(
                "payload",
                format!(
                    "the action is {size} bytes long, more than {MAX_PAYLOAD_BYTES}; write long content to a run's \
                     log, and put only the run's id into the action"
                ),
            ));
        }
        if has_nul(&payload) {
            return Err(Error::invalid(
                "payload",
                "the action contains U+0000, which can't be stored",
            ));
        }
        refuse_too_deep("payload", &payload)?;
        let (action_type, payload) = typed(payload, std::any::type_name::<A>());
        Ok(Self {
            action_type,
            sentence: JobSentence::of(|| action.to_string()),
            payload,
            size_bytes: size,
        })
    }
}

/// Returns whether U+0000 occurs anywhere in the value: PostgreSQL's JSON can't store it.
pub(super) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Splits a payload into the action's type and the rest. The type is the variant of an enum, the field `type`, or else
/// the name of the Rust type.
fn typed(payload: Value, type_name: &str) -> (String, Value) {
    match payload {
        Value::String(variant) => (variant, Value::Object(serde_json::Map::new())),
        // Serde's default form of an enum: one field, named like the variant.
        Value::Object(fields) if fields.len() == 1 && is_variant(&fields) => {
            let (variant, inside) = fields.into_iter().next().unwrap_or_default();
            (variant, inside)
        }
        Value::Object(mut fields) => match fields.remove("type") {
            Some(Value::String(tag)) => (tag, Value::Object(fields)),
            Some(other) => {
                fields.insert("type".to_owned(), other);
                (short_type_name(type_name), Value::Object(fields))
            }
            None => (short_type_name(type_name), Value::Object(fields)),
        },
        other => (short_type_name(type_name), other),
    }
}

/// Distinguishes an enum's variant from a struct with one field: a variant begins with a capital letter, or holds an
/// object or a list.
fn is_variant(fields: &serde_json::Map<String, Value>) -> bool {
    fields
        .iter()
        .any(|(name, value)| name.starts_with(char::is_uppercase) || value.is_object() || value.is_array())
}

fn short_type_name(type_name: &str) -> String {
    let own = type_name.split('<').next().unwrap_or(type_name);
    own.rsplit("::").next().unwrap_or(own).to_owned()
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    enum RosterAction {
        Skipped,
        Synced { players: u32 },
        Named(String),
    }

    #[derive(Serialize)]
    #[serde(tag = "type", rename_all = "kebab-case")]
    enum Tagged {
        ReportQueued { id: u32 },
    }

    #[derive(Serialize)]
    struct Counted {
        rows: u32,
    }

    macro_rules! display_as_done {
        ($($type:ty),+) => {$(
            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("Did it")
                }
            }
        )+};
    }
    display_as_done!(RosterAction, Tagged, Counted);

    #[test]
    fn an_actions_type_is_its_variant_or_its_short_type_name() {
        let of = |rendered: Result<RenderedAction>| {
            let rendered = rendered.unwrap();
            assert_eq!(rendered.sentence.text, "Did it");
            (rendered.action_type, rendered.payload)
        };
        assert_eq!(
            of(RenderedAction::of(&RosterAction::Skipped)),
            ("Skipped".to_owned(), json!({}))
        );
        let synced = RosterAction::Synced { players: 40 };
        assert_eq!(
            of(RenderedAction::of(&synced)),
            ("Synced".to_owned(), json!({"players": 40}))
        );
        let named = RosterAction::Named("Ada".to_owned());
        assert_eq!(of(RenderedAction::of(&named)), ("Named".to_owned(), json!("Ada")));
        let tagged = Tagged::ReportQueued { id: 7 };
        assert_eq!(
            of(RenderedAction::of(&tagged)),
            ("report-queued".to_owned(), json!({"id": 7}))
        );
        assert_eq!(
            of(RenderedAction::of(&Counted { rows: 1 })),
            ("Counted".to_owned(), json!({"rows": 1}))
        );
    }

    #[test]
    fn the_error_for_a_large_action_suggests_a_run() {
        let large = RosterAction::Named("x".repeat(MAX_PAYLOAD_BYTES));
        let error = RenderedAction::of(&large).unwrap_err();
        assert!(error.to_string().contains("a run's log"), "{error}");
    }
}
