//! What changed, field by field, for a page that wants more than a sentence; and what several changes come to.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::event::Event;
use super::field_type::FieldType;
use super::payload::{EventData, FieldChange, FieldChanges};
use super::sentence::{Sentences, spaced};
use super::shortened::is_shortened;

/// A field before and after.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChangedField {
    /// The column; `state` for the state of a `STATE_CHANGED` event.
    #[schema(example = "budget")]
    pub field: String,
    /// The column, for people.
    pub label: String,
    /// What kind of value it holds.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// True: that it changed was recorded, but no value; the four below are null.
    pub redacted: bool,
    /// Before, as recorded.
    pub old: Value,
    /// After, as recorded.
    pub new: Value,
    /// Before, for people. It differs from `new_text` wherever the values differ.
    pub old_text: Option<String>,
    /// After, for people.
    pub new_text: Option<String>,
    /// True: a value is long, and `old` or `new` is only its beginning, as text. The message by itself
    /// (`GET /threads/{id}/messages/{seq}`) has all of it.
    pub truncated: bool,
}

/// A field before the first and after the last of several changes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct NetChange {
    /// Before the first, after the last.
    #[serde(flatten)]
    pub change: ChangedField,
    /// It was changed, and is what it was before. Never true of a redacted or a truncated field, of which that isn't known.
    pub came_back: bool,
}

impl ChangedField {
    fn new(column: Option<FieldType>, field: String, change: FieldChange) -> Self {
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

impl Sentences {
    /// What an event changed, by field; nothing for one that isn't of a typed change.
    pub fn changes(&self, event: &Event) -> Vec<ChangedField> {
        let changes = match event.data() {
            Ok(EventData::Updated(data)) => data.changes,
            Ok(EventData::StateChanged(data)) => FieldChanges::from([("state".to_owned(), data.state)]),
            _ => return Vec::new(),
        };
        changes
            .into_iter()
            .map(|(field, change)| ChangedField::new(self.column(&event.object_type, &field), field, change))
            .collect()
    }

    /// What several `UPDATED` events of one object come to, oldest first: each field before the first and after the
    /// last. A field that one of them keeps to itself is redacted in the sum, too.
    pub fn net_changes(&self, events: &[&Event]) -> Vec<NetChange> {
        let mut net: BTreeMap<String, FieldChange> = BTreeMap::new();
        let mut object_type = "";
        for event in events {
            let Ok(EventData::Updated(data)) = event.data() else {
                continue;
            };
            object_type = &event.object_type;
            for (field, change) in data.changes {
                match net.get_mut(&field) {
                    None => {
                        net.insert(field, change);
                    }
                    Some(sum) if sum.is_redacted() || change.is_redacted() => *sum = FieldChange::redacted(),
                    Some(sum) => sum.new = change.new,
                }
            }
        }
        net.into_iter()
            .map(|(field, change)| {
                let change = ChangedField::new(self.column(object_type, &field), field, change);
                // Of two beginnings that are equal nothing is known of the rest.
                let came_back =
                    !change.redacted && !change.truncated && change.field_type.same(&change.old, &change.new);
                NetChange { change, came_back }
            })
            .collect()
    }
}
