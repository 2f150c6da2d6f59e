//! Validates events against a JSON Schema, without converting them to `serde_json::Value` first.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jsonschema::json::{Array, Json, Node, NodeIdentity, Object};
use jsonschema::{JsonType, Validator};
use serde_json::Number;

use super::fields::{Fields, Name, Value};

/// Maximum number of errors that one event has.
const MAX_ERRORS: usize = 8;
/// Maximum length of one error, in characters. An error may quote a value.
const MAX_ERROR_CHARS: usize = 200;

/// A JSON Schema against which complete events are validated. An event that doesn't fit is emitted with
/// `schema_errors`; it is never dropped.
#[derive(Clone)]
pub struct EventSchema(Arc<Validator<Instance>>);

impl fmt::Debug for EventSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSchema")
    }
}

/// The error for a value that is not a JSON Schema.
#[derive(Debug, thiserror::Error)]
#[error("not a JSON Schema: {0}")]
pub struct BadSchema(String);

impl EventSchema {
    /// Compiles a schema. It describes the whole event, including the layer's own fields. Most schemas should allow
    /// other fields (no `additionalProperties: false`), because any code of a request may add some.
    ///
    /// # Errors
    /// [`BadSchema`] if it isn't a JSON Schema, or if it refers to another document, since none is fetched.
    pub fn new(schema: &serde_json::Value) -> Result<Self, BadSchema> {
        jsonschema::options_for::<Instance>()
            .build(schema)
            .map(|validator| Self(Arc::new(validator)))
            .map_err(|error| BadSchema(error.to_string()))
    }

    /// Returns the errors of `event`, each with its path: `/user/id: "seven" is not of type "integer"`.
    pub(super) fn errors(&self, event: &Value) -> Vec<String> {
        if self.0.is_valid(event) {
            return Vec::new();
        }
        let errors = self.0.iter_errors(event).take(MAX_ERRORS);
        errors
            .map(|error| {
                let message = format!("{}: {error}", error.instance_path());
                message.chars().take(MAX_ERROR_CHARS).collect()
            })
            .collect()
    }
}

/// Lets the validator read an event's [`Value`].
#[derive(Debug)]
pub(super) struct Instance;

impl Json for Instance {
    type Node<'a> = &'a Value;
    type PreparedKey = String;
    type StringBuffer = Value;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Value, string: &str, f: impl FnOnce(&Value) -> T) -> T {
        *buffer = Value::String(string.into());
        f(buffer)
    }
}

impl<'a> Node<'a, Instance> for &'a Value {
    type Object = &'a Fields;
    type Array = &'a [Value];
    type Number = &'a Number;

    fn as_object(&self) -> Option<&'a Fields> {
        match self {
            Value::Object(fields) => Some(fields),
            _ => None,
        }
    }

    fn as_array(&self) -> Option<&'a [Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match self {
            Value::String(text) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<&'a Number> {
        match self {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    fn json_type(&self) -> JsonType {
        match self {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &serde_json::Value) -> bool {
        match (self, expected) {
            // Most `enum`s have strings. Compare these without a copy.
            (Value::String(text), serde_json::Value::String(expected)) => text == expected,
            (Value::String(_), _) | (_, serde_json::Value::String(_)) => false,
            _ => jsonschema::json::cmp::equal(&self.to_value(), expected),
        }
    }

    fn to_value(&self) -> Cow<'a, serde_json::Value> {
        Cow::Owned(serde_json::Value::from(*self))
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref::<Value>(self) as usize))
    }
}

impl<'a> Object<'a, Instance> for &'a Fields {
    type Node = &'a Value;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        Fields::len(self)
    }

    fn get(&self, key: &String) -> Option<&'a Value> {
        self.field(key)
    }

    fn members(&self) -> Members<'a> {
        Members(self.entries().iter())
    }
}

/// Iterates over the fields of an object.
#[derive(Debug)]
pub(super) struct Members<'a>(std::slice::Iter<'a, (Name, Value)>);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (name.as_ref(), value))
    }
}

impl<'a> Array<'a, Instance> for &'a [Value] {
    type Node = &'a Value;
    type ElementsIter = std::slice::Iter<'a, Value>;

    fn len(&self) -> usize {
        <[Value]>::len(self)
    }

    fn elements(&self) -> std::slice::Iter<'a, Value> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn required_and_typed_fields_are_checked_at_any_depth() {
        let schema = EventSchema::new(&json!({
            "type": "object",
            "required": ["status_code", "cart"],
            "properties": {
                "status_code": {"type": "integer", "minimum": 100},
                "cart": {
                    "type": "object",
                    "required": ["total"],
                    "properties": {"total": {"type": "number"}, "items": {"type": "array", "items": {"type": "string"}}},
                },
                "plan": {"enum": ["free", "pro"]},
            },
        }))
        .unwrap();
        let errors = |event: serde_json::Value| schema.errors(&Value::from(event));
        assert!(errors(json!({"status_code": 200, "cart": {"total": 1.5, "items": ["a"]}, "more": 1})).is_empty());
        assert_eq!(
            errors(json!({"status_code": "200", "cart": {"items": ["a", 1]}, "plan": "trial"})),
            [
                r#"/cart: "total" is a required property"#,
                r#"/cart/items/1: 1 is not of type "string""#,
                r#"/plan: "trial" is not one of "free" or "pro""#,
                r#"/status_code: "200" is not of type "integer""#,
            ]
        );
        assert_eq!(
            errors(json!({"status_code": 200})),
            [r#": "cart" is a required property"#]
        );
    }

    #[test]
    fn values_that_are_not_schemas_are_refused() {
        let error = EventSchema::new(&json!({"type": "objekt"})).unwrap_err();
        assert!(error.to_string().contains("objekt"), "{error}");
        assert!(EventSchema::new(&json!({"$ref": "https://example.com/a.json"})).is_err());
    }
}
