//! Turns events into sentences. No other module does this.
//!
//! A sentence consists of parts, and the parts carry ids: a page can link the object, show the actor's picture, or
//! write "You" for the reader. The text of a sentence is its parts, one after the other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sea_orm::ColumnTrait;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::changes::{ChangedField, NetChange};
use super::event::{Event, EventType};
use super::field_type::FieldType;
use super::payload::{EventData, EventPayload, FieldChange, FieldChanges, UpdatedEventData};
use super::tracked::{Tracked, find_column};

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
    fn change(self, change: &ChangedField) -> Self {
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
    fn net_change(self, net: &NetChange) -> Self {
        if !net.came_back {
            return self.change(&net.change);
        }
        self.and(" (changed back to ")
            .value_of(net.change.field_type, &net.change.new)
            .and(")")
    }

    /// Returns `changed budget of campaign “Spring”…`, or `changed campaign “Spring”: budget…, name…`.
    fn changed<C>(event: &Event, changes: &[C], name: fn(&C) -> &str, append: fn(Self, &C) -> Self) -> Self {
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
    fn because(self, reason: Option<&str>) -> Self {
        match reason {
            Some(reason) => self.and(format!(": {reason}")),
            None => self,
        }
    }
}

type SentenceFn = fn(&Event) -> Option<Sentence>;

/// What sentences need to know about a model.
#[derive(Clone, Copy)]
struct SentenceModel {
    own_sentence: SentenceFn,
    column: fn(&str) -> Option<FieldType>,
    /// Whether its objects may have threads: people can watch only such types.
    has_threads: bool,
}

fn column_type<M: Tracked>(name: &str) -> Option<FieldType> {
    find_column::<M>(name).map(|column| FieldType::of_column(column.def().get_column_type()))
}

/// The program's models, as far as sentences need them: their own sentences and the types of their fields. A model
/// without a sentence of its own gets the default one.
#[derive(Clone, Default)]
pub struct Sentences {
    models: Arc<BTreeMap<&'static str, SentenceModel>>,
}

impl fmt::Debug for Sentences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.models.keys()).finish()
    }
}

impl Sentences {
    /// Adds a model.
    #[must_use]
    pub fn with<M: Tracked>(mut self) -> Self {
        let model = SentenceModel {
            own_sentence: M::sentence,
            column: column_type::<M>,
            has_threads: true,
        };
        Arc::make_mut(&mut self.models).insert(M::OBJECT_TYPE, model);
        self
    }

    /// Adds a sentence for objects without a model and without threads, unless the program has a model of that name.
    #[must_use]
    pub fn with_words(mut self, object_type: &'static str, own_sentence: SentenceFn) -> Self {
        let words = SentenceModel {
            own_sentence,
            column: |_| None,
            has_threads: false,
        };
        Arc::make_mut(&mut self.models).entry(object_type).or_insert(words);
        self
    }

    /// Returns the types of the objects for which the program has a model, by name: only these may have threads.
    pub fn object_types(&self) -> impl Iterator<Item = &'static str> {
        let models = self.models.iter().filter(|(_, model)| model.has_threads);
        models.map(|(object_type, _)| *object_type)
    }

    /// Returns the whole sentence: who did what, on whose behalf, and why.
    pub fn render(&self, event: &Event) -> Sentence {
        let action = self.own_sentence(event).unwrap_or_else(|| self.default_sentence(event));
        let action = match event.unreadable() {
            Some(_) => action.and(" (what was recorded can't be read)"),
            None => action,
        };
        with_actor_and_reason(event, action)
    }

    /// Returns the net changes of several `UPDATED` events of one object and one actor, oldest first, and one sentence
    /// for them. The sentence is the same as for one event with all these changes. The default sentence shows a field
    /// that has its first value again as changed back; a model's own sentence does not mention it.
    pub fn render_net(&self, events: &[&Event]) -> (Vec<NetChange>, Sentence) {
        let net = self.net_changes(events);
        let Some(newest) = events.last() else {
            return (net, Sentence::default());
        };
        let own_sentence = at_once(newest, &net).and_then(|event| self.own_sentence(&event));
        let action = own_sentence
            .unwrap_or_else(|| Sentence::changed(newest, &net, |net| &net.change.field, Sentence::net_change));
        (net, with_actor_and_reason(newest, action))
    }

    fn own_sentence(&self, event: &Event) -> Option<Sentence> {
        (self.models.get(event.object_type.as_str())?.own_sentence)(event)
    }

    /// Returns the type of a model's column.
    pub(super) fn column(&self, object_type: &str, name: &str) -> Option<FieldType> {
        (self.models.get(object_type)?.column)(name)
    }

    /// Returns the default sentence, without the actor and the reason.
    fn default_sentence(&self, event: &Event) -> Sentence {
        match event.data() {
            Ok(EventData::Updated(_)) => {
                Sentence::changed(event, &self.changes(event), |change| &change.field, Sentence::change)
            }
            Ok(EventData::StateChanged(_)) => self
                .changes(event)
                .iter()
                .fold(Sentence::text("moved ").object(event), Sentence::change),
            Ok(EventData::Custom(data)) => Sentence::text(format!("recorded {} on ", spaced(&data.name))).object(event),
            // A raw payload, or one that a newer program wrote: the event's type is still known.
            _ => match event.event_type {
                EventType::Created => Sentence::text("created ").object(event),
                EventType::Updated => Sentence::text("changed ").object(event),
                EventType::Deleted => Sentence::text("deleted ").object(event),
                EventType::StateChanged => Sentence::text("changed the state of ").object(event),
                EventType::Restored => Sentence::text("restored ").object(event),
                EventType::Custom => {
                    let name = event.event_name.as_deref().unwrap_or("something");
                    Sentence::text(format!("recorded {} on ", spaced(name))).object(event)
                }
            },
        }
    }
}

/// Returns an event that makes all these changes at once, with the envelope of the newest event; `None` if every field
/// has its first value again.
fn at_once(newest: &Event, net: &[NetChange]) -> Option<Event> {
    let changes: FieldChanges = net
        .iter()
        .filter(|net| !net.came_back)
        .map(|NetChange { change, .. }| {
            let recorded = if change.redacted {
                FieldChange::redacted()
            } else {
                FieldChange {
                    old: change.old.clone(),
                    new: change.new.clone(),
                }
            };
            (change.field.clone(), recorded)
        })
        .collect();
    if changes.is_empty() {
        return None;
    }
    Some(Event {
        event_data: UpdatedEventData { changes }.into_json().ok()?,
        ..newest.clone()
    })
}

/// Adds the actor, the person on whose behalf it acts, and the reason.
fn with_actor_and_reason(event: &Event, action: Sentence) -> Sentence {
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
    sentence.parts.extend(action.parts);
    sentence.because(event.reason.as_deref())
}

/// Returns a database name as people read it: `client_email` is `client email`.
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ")
}
