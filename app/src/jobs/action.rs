//! What a session did.

use std::fmt::Display;

use serde::Serialize;
use serde_json::Value;

use super::sentence::Sentence;
use crate::error::{Error, Result};
use crate::json::refuse_too_deep;

/// How large an action's payload may be, as JSON.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// An action, ready to be a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) action_type: String,
    pub(super) sentence: Sentence,
    pub(super) payload: Value,
    /// How large the payload is, as JSON.
    pub(super) size_bytes: usize,
}

impl Told {
    /// An action of any type: its `Display` is its sentence, its variant its type.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no JSON, or too large or too deep.
    pub(super) fn of<A: Serialize + Display>(action: &A) -> Result<Self> {
        let payload = serde_json::to_value(action)
            .map_err(|error| Error::invalid("payload", format!("the action is no JSON: {error}")))?;
        let size = payload.to_string().len();
        if size > MAX_PAYLOAD_BYTES {
            return Err(Error::invalid(
                "payload",
                format!(
                    "the action is {size} bytes long, more than {MAX_PAYLOAD_BYTES}; keep what is long in a run's log and \
                     say here where it is"
                ),
            ));
        }
        if has_nul(&payload) {
            return Err(Error::invalid(
                "payload",
                "the action has U+0000 in it, which no row can hold",
            ));
        }
        refuse_too_deep("payload", &payload)?;
        let (action_type, payload) = typed(payload, std::any::type_name::<A>());
        Ok(Self {
            action_type,
            sentence: Sentence::of(|| action.to_string()),
            payload,
            size_bytes: size,
        })
    }
}

/// Whether there is a U+0000 anywhere in it, which PostgreSQL's JSON can't hold.
pub(super) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// An action's type and what else it has: of an enum the variant, of anything else its type's own name.
fn typed(payload: Value, type_name: &str) -> (String, Value) {
    match payload {
        Value::String(variant) => (variant, Value::Object(serde_json::Map::new())),
        // An enum's usual form: its variant alone, around what it has.
        Value::Object(fields) if fields.len() == 1 && is_variant(&fields) => {
            let (variant, inside) = fields.into_iter().next().unwrap_or_default();
            (variant, inside)
        }
        Value::Object(mut fields) => match fields.remove("type") {
            Some(Value::String(tag)) => (tag, Value::Object(fields)),
            Some(other) => {
                fields.insert("type".to_owned(), other);
                (own_name(type_name), Value::Object(fields))
            }
            None => (own_name(type_name), Value::Object(fields)),
        },
        other => (own_name(type_name), other),
    }
}

/// A variant's name begins with a capital, or holds an object or a list; a struct of one field is told apart so.
fn is_variant(fields: &serde_json::Map<String, Value>) -> bool {
    fields
        .iter()
        .any(|(name, value)| name.starts_with(char::is_uppercase) || value.is_object() || value.is_array())
}

fn own_name(type_name: &str) -> String {
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

    macro_rules! told {
        ($($type:ty),+) => {$(
            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("Did it")
                }
            }
        )+};
    }
    told!(RosterAction, Tagged, Counted);

    #[test]
    fn an_actions_type_is_its_variant_or_its_own_name() {
        let of = |told: Result<Told>| {
            let told = told.unwrap();
            assert_eq!(told.sentence.text, "Did it");
            (told.action_type, told.payload)
        };
        assert_eq!(of(Told::of(&RosterAction::Skipped)), ("Skipped".to_owned(), json!({})));
        let synced = RosterAction::Synced { players: 40 };
        assert_eq!(of(Told::of(&synced)), ("Synced".to_owned(), json!({"players": 40})));
        let named = RosterAction::Named("Ada".to_owned());
        assert_eq!(of(Told::of(&named)), ("Named".to_owned(), json!("Ada")));
        let tagged = Tagged::ReportQueued { id: 7 };
        assert_eq!(of(Told::of(&tagged)), ("report-queued".to_owned(), json!({"id": 7})));
        assert_eq!(
            of(Told::of(&Counted { rows: 1 })),
            ("Counted".to_owned(), json!({"rows": 1}))
        );
    }

    #[test]
    fn what_is_too_large_is_sent_to_a_run() {
        let large = RosterAction::Named("x".repeat(MAX_PAYLOAD_BYTES));
        let error = Told::of(&large).unwrap_err();
        assert!(error.to_string().contains("a run's log"), "{error}");
    }
}
