//! A sentence about an event, in parts.
//!
//! A sentence consists of parts, and the parts carry ids: a page can link the object, show the actor's picture, or
//! write "You" for the reader. The text of a sentence is its parts, one after the other.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::changes::{ChangedField, NetChange};
use super::event::Event;
use super::field_type::FieldType;
use super::spaced::spaced;

/// A part of a sentence.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// Plain text, with its spaces.
    Text {
        /// The text.
        text: String,
    },
    /// The actor, or the person for whom it acts.
    Actor {
        /// `user`, `api_key`, `job` or `system`.
        actor_kind: String,
        /// The actor's id, if it has one.
        id: Option<Uuid>,
        /// The actor's name when the event was recorded.
        text: String,
    },
    /// The object, as `campaign “Spring”`.
    Object {
        /// The object's type.
        object_type: String,
        /// The object's id.
        id: String,
        /// The type and the label.
        text: String,
    },
    /// A field's name.
    Field {
        /// The column's name.
        name: String,
        /// The column's name, as people read it.
        text: String,
    },
    /// A field's value.
    Value {
        /// The kind of value.
        #[serde(rename = "type")]
        value_type: FieldType,
        /// The value, as recorded.
        value: Value,
        /// The value, as people read it.
        text: String,
    },
}

impl Part {
    fn text(&self) -> &str {
        match self {
            Self::Text { text }
            | Self::Actor { text, .. }
            | Self::Object { text, .. }
            | Self::Field { text, .. }
            | Self::Value { text, .. } => text,
        }
    }
}

/// A sentence in parts; its `Display` is its text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Sentence {
    /// In reading order.
    pub parts: Vec<Part>,
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| f.write_str(part.text()))
    }
}

impl Sentence {
    /// Starts a sentence with a text: `Sentence::text("approved ").object(event)`.
    pub fn text(words: impl Into<String>) -> Self {
        Self::default().and(words)
    }

    /// Adds a text.
    #[must_use]
    pub fn and(mut self, words: impl Into<String>) -> Self {
        self.parts.push(Part::Text { text: words.into() });
        self
    }

    /// Adds the event's object, as `campaign “Spring”`.
    #[must_use]
    pub fn object(mut self, event: &Event) -> Self {
        self.parts.push(Part::Object {
            object_type: event.object_type.clone(),
            id: event.object_id.clone(),
            text: format!("{} “{}”", spaced(&event.object_type), event.object_label),
        });
        self
    }

    /// Adds a field, by its column's name.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        self.parts.push(Part::Field {
            name: name.to_owned(),
            text: spaced(name),
        });
        self
    }

    /// Adds a value as recorded, shown by the type of its JSON.
    #[must_use]
    pub fn value(self, value: &Value) -> Self {
        self.value_of(FieldType::of(None, &[value]), value)
    }

    /// Adds a value as recorded, of a field of this type.
    #[must_use]
    pub fn value_of(self, value_type: FieldType, value: &Value) -> Self {
        self.value_as(value_type, value, value_type.shown(value))
    }

    #[must_use]
    fn value_as(mut self, value_type: FieldType, value: &Value, text: String) -> Self {
        self.parts.push(Part::Value {
            value_type,
            value: value.clone(),
            text,
        });
        self
    }

    /// Adds ` from 100 to 250`; nothing for a redacted change.
    #[must_use]
    pub(super) fn change(self, change: &ChangedField) -> Self {
        match (&change.old_text, &change.new_text) {
            // Older programs recorded both NULL and a JSON null as null.
            (Some(old_text), Some(new_text)) if old_text != new_text => self
                .and(" from ")
                .value_as(change.field_type, &change.old, old_text.clone())
                .and(" to ")
                .value_as(change.field_type, &change.new, new_text.clone()),
            _ => self,
        }
    }

    /// Adds ` from 100 to 250`, or ` (changed back to 100)`.
    #[must_use]
    pub(super) fn net_change(self, net: &NetChange) -> Self {
        if !net.came_back {
            return self.change(&net.change);
        }
        self.and(" (changed back to ")
            .value_of(net.change.field_type, &net.change.new)
            .and(")")
    }

    /// Returns `changed budget of campaign “Spring”…`, or `changed campaign “Spring”: budget…, name…`.
    pub(super) fn changed<C>(event: &Event, changes: &[C], name: fn(&C) -> &str, append: fn(Self, &C) -> Self) -> Self {
        match changes {
            [one] => append(Self::text("changed ").field(name(one)).and(" of ").object(event), one),
            many => {
                let mut sentence = Self::text("changed ").object(event);
                for (i, change) in many.iter().enumerate() {
                    let between = if i == 0 { ": " } else { ", " };
                    sentence = append(sentence.and(between).field(name(change)), change);
                }
                sentence
            }
        }
    }

    #[must_use]
    pub(super) fn because(self, reason: Option<&str>) -> Self {
        match reason {
            Some(reason) => self.and(format!(": {reason}")),
            None => self,
        }
    }
}
