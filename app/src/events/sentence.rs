//! The one place that says an event in words.
//!
//! A sentence is made of parts, and the parts carry ids: a page can link the object, show the actor's face,
//! or write "You" for the reader. Its text is the parts in a row.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::event::{Event, EventType};
use super::payload::{EventData, FieldChange};
use super::tracked::Tracked;

/// Values longer than this many characters are cut short in sentences; the event has them whole.
const VALUE_LIMIT: usize = 80;

/// A piece of a sentence.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Part {
    /// Words, with their spaces.
    Text {
        /// The words.
        text: String,
    },
    /// Who acts, or in whose name.
    Actor {
        /// `user`, `api_key`, `job` or `system`.
        actor_kind: String,
        /// The actor's row, where it has one.
        id: Option<Uuid>,
        /// What it was called then.
        text: String,
    },
    /// The object, as `campaign “Spring”`.
    Object {
        /// The object's type.
        object_type: String,
        /// The object's id.
        id: String,
        /// Type and label.
        text: String,
    },
    /// A field's name.
    Field {
        /// The column.
        name: String,
        /// The column, for people.
        text: String,
    },
    /// A field's value.
    Value {
        /// As recorded.
        value: Value,
        /// For people.
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
    /// A sentence that begins with words: `Sentence::text("approved ").object(event)`.
    pub fn text(words: impl Into<String>) -> Self {
        Self::default().and(words)
    }

    /// More words.
    #[must_use]
    pub fn and(mut self, words: impl Into<String>) -> Self {
        self.parts.push(Part::Text { text: words.into() });
        self
    }

    /// The event's object, as `campaign “Spring”`.
    #[must_use]
    pub fn object(mut self, event: &Event) -> Self {
        self.parts.push(Part::Object {
            object_type: event.object_type.clone(),
            id: event.object_id.clone(),
            text: format!("{} “{}”", spaced(&event.object_type), event.object_label),
        });
        self
    }

    /// A field, by its column's name.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        self.parts.push(Part::Field {
            name: name.to_owned(),
            text: spaced(name),
        });
        self
    }

    /// A value as recorded.
    #[must_use]
    pub fn value(mut self, value: &Value) -> Self {
        self.parts.push(Part::Value {
            value: value.clone(),
            text: shown(value),
        });
        self
    }

    /// ` from 100 to 250`; nothing for a redacted change.
    #[must_use]
    fn change(self, change: &FieldChange) -> Self {
        if change.is_redacted() {
            return self;
        }
        self.and(" from ").value(&change.old).and(" to ").value(&change.new)
    }

    #[must_use]
    fn because(self, reason: Option<&str>) -> Self {
        match reason {
            Some(reason) => self.and(format!(": {reason}")),
            None => self,
        }
    }
}

type OwnWords = fn(&Event) -> Option<Sentence>;

/// The models' own words, by object type; what has none is said in the usual ones.
#[derive(Clone, Default)]
pub struct Sentences {
    own: Arc<HashMap<&'static str, OwnWords>>,
}

impl fmt::Debug for Sentences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.own.keys()).finish()
    }
}

impl Sentences {
    /// Adds a model's own words.
    #[must_use]
    pub fn with<M: Tracked>(mut self) -> Self {
        Arc::make_mut(&mut self.own).insert(M::OBJECT_TYPE, M::sentence);
        self
    }

    /// The whole sentence: who, in whose name, did what, why.
    pub fn render(&self, event: &Event) -> Sentence {
        let mut sentence = Sentence::default();
        sentence.parts.push(Part::Actor {
            actor_kind: event.actor.kind().to_owned(),
            id: event.actor.id(),
            text: event.actor.name().to_owned(),
        });
        if let Some(person) = &event.on_behalf_of {
            sentence = sentence.and(" on behalf of ");
            sentence.parts.push(Part::Actor {
                actor_kind: "user".to_owned(),
                id: Some(person.id),
                text: person.name.clone(),
            });
        }
        sentence = sentence.and(" ");
        let own = self.own.get(event.object_type.as_str()).and_then(|words| words(event));
        sentence.parts.extend(own.unwrap_or_else(|| usual(event)).parts);
        sentence.because(event.reason.as_deref())
    }
}

/// Everything but the actor and the reason.
fn usual(event: &Event) -> Sentence {
    match event.data() {
        Ok(EventData::Updated(data)) if data.changes.len() == 1 => {
            let mut sentence = Sentence::text("changed ");
            for (name, change) in &data.changes {
                sentence = sentence.field(name).and(" of ").object(event).change(change);
            }
            sentence
        }
        Ok(EventData::Updated(data)) => {
            let mut sentence = Sentence::text("changed ").object(event);
            for (i, (name, change)) in data.changes.iter().enumerate() {
                sentence = sentence
                    .and(if i == 0 { ": " } else { ", " })
                    .field(name)
                    .change(change);
            }
            sentence
        }
        Ok(EventData::StateChanged(data)) => Sentence::text("moved ").object(event).change(&data.state),
        Ok(EventData::Custom(data)) => Sentence::text(format!("recorded {} on ", spaced(&data.name))).object(event),
        // A raw payload, or one that a newer program wrote: what happened is known all the same.
        _ => match event.event_type {
            EventType::Created => Sentence::text("created ").object(event),
            EventType::Updated => Sentence::text("changed ").object(event),
            EventType::Deleted => Sentence::text("deleted ").object(event),
            EventType::StateChanged => Sentence::text("changed the state of ").object(event),
            EventType::Custom => {
                let name = event.event_name.as_deref().unwrap_or("something");
                Sentence::text(format!("recorded {} on ", spaced(name))).object(event)
            }
        },
    }
}

fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => return "nothing".to_owned(),
        Value::String(text) if text.is_empty() => return "“”".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
