//! What changed, field by field, for a page that needs more than a sentence; and the net change of several events.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::field_type::FieldType;
use super::payload::FieldChange;
use super::shortened::is_shortened;
use super::spaced::spaced;

/// A field before and after.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChangedField {
    /// The column; `state` for the state of a `STATE_CHANGED` event.
    #[schema(example = "budget")]
    pub field: String,
    /// The column's name, as people read it.
    pub label: String,
    /// What kind of value it holds.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// True: the event recorded that the field changed, but not its values; the next four fields are null.
    pub redacted: bool,
    /// Before, as recorded.
    pub old: Value,
    /// After, as recorded.
    pub new: Value,
    /// Before, as people read it. It differs from `new_text` wherever the values differ.
    pub old_text: Option<String>,
    /// After, as people read it.
    pub new_text: Option<String>,
    /// True: a value is long, and `old` or `new` is only its beginning, as text. The single message
    /// (`GET /threads/{id}/messages/{seq}`) has the whole value.
    pub truncated: bool,
}

/// A field before the first and after the last of several changes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct NetChange {
    /// The field before the first and after the last change.
    #[serde(flatten)]
    pub change: ChangedField,
    /// The field was changed and has its first value again. Never true for a redacted or truncated field, because the
    /// values are not known.
    pub came_back: bool,
}

impl ChangedField {
    pub(super) fn new(column: Option<FieldType>, field: String, change: FieldChange) -> Self {
        let label = spaced(&field);
        if change.is_redacted() {
            return Self {
                field,
                label,
                field_type: column.unwrap_or(FieldType::Text),
                redacted: true,
                old: Value::Null,
                new: Value::Null,
                old_text: None,
                new_text: None,
                truncated: false,
            };
        }
        let field_type = FieldType::of(column, &[&change.old, &change.new]);
        let (old_text, new_text) = field_type.shown_apart(&change.old, &change.new);
        Self {
            field,
            label,
            field_type,
            redacted: false,
            old_text: Some(old_text),
            new_text: Some(new_text),
            truncated: is_shortened(&change.old) || is_shortened(&change.new),
            old: change.old,
            new: change.new,
        }
    }
}
