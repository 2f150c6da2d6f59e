//! The one place that says an event in words.
//!
//! A sentence is made of parts, and the parts carry ids: a page can link the object, show the actor's face,
//! or write "You" for the reader. Its text is the parts in a row.

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

/// A piece of a sentence.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
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
        /// What kind of value it is.
        #[serde(rename = "type")]
        value_type: FieldType,
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

    /// A value as recorded, shown as what its JSON is.
    #[must_use]
    pub fn value(self, value: &Value) -> Self {
        self.value_of(FieldType::of(None, &[value]), value)
    }

    /// A value as recorded, of a field of this type.
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

    /// ` from 100 to 250`; nothing for a redacted change.
    #[must_use]
    fn change(self, change: &ChangedField) -> Self {
        match (&change.old_text, &change.new_text) {
            // Older programs recorded both NULL and JSON's null as null.
            (Some(old_text), Some(new_text)) if old_text != new_text => self
                .and(" from ")
                .value_as(change.field_type, &change.old, old_text.clone())
                .and(" to ")
                .value_as(change.field_type, &change.new, new_text.clone()),
            _ => self,
        }
    }

    /// ` from 100 to 250`, or ` (changed back to 100)`.
    #[must_use]
    fn net_change(self, net: &NetChange) -> Self {
        if !net.came_back {
            return self.change(&net.change);
        }
        self.and(" (changed back to ")
            .value_of(net.change.field_type, &net.change.new)
            .and(")")
    }

    /// `changed budget of campaign “Spring”…`, or `changed campaign “Spring”: budget…, name…`.
    fn changed<C>(event: &Event, changes: &[C], name: fn(&C) -> &str, tell: fn(Self, &C) -> Self) -> Self {
        match changes {
            [one] => tell(Self::text("changed ").field(name(one)).and(" of ").object(event), one),
            many => {
                let mut sentence = Self::text("changed ").object(event);
                for (i, change) in many.iter().enumerate() {
                    let between = if i == 0 { ": " } else { ", " };
                    sentence = tell(sentence.and(between).field(name(change)), change);
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

type OwnWords = fn(&Event) -> Option<Sentence>;

/// What a model says of itself.
#[derive(Clone, Copy)]
struct Model {
    own_words: OwnWords,
    column: fn(&str) -> Option<FieldType>,
    /// Whether its objects may have threads: people can watch only for those.
    has_threads: bool,
}

fn column_type<M: Tracked>(name: &str) -> Option<FieldType> {
    find_column::<M>(name).map(|column| FieldType::of_column(column.def().get_column_type()))
}

/// The program's models, as far as they are read of: their own words and the types of their fields. What has no
/// words of its own is said in the usual ones.
#[derive(Clone, Default)]
pub struct Sentences {
    models: Arc<BTreeMap<&'static str, Model>>,
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
        let model = Model {
            own_words: M::sentence,
            column: column_type::<M>,
            has_threads: true,
        };
        Arc::make_mut(&mut self.models).insert(M::OBJECT_TYPE, model);
        self
    }

    /// Adds words for objects without a model and without threads, unless the program has a model of that name.
    #[must_use]
    pub(crate) fn with_words(mut self, object_type: &'static str, own_words: OwnWords) -> Self {
        let words = Model {
            own_words,
            column: |_| None,
            has_threads: false,
        };
        Arc::make_mut(&mut self.models).entry(object_type).or_insert(words);
        self
    }

    /// The types of objects that the program has models of, by name: those that may have threads.
    pub fn object_types(&self) -> impl Iterator<Item = &'static str> {
        let models = self.models.iter().filter(|(_, model)| model.has_threads);
        models.map(|(object_type, _)| *object_type)
    }

    /// The whole sentence: who, in whose name, did what, why.
    pub fn render(&self, event: &Event) -> Sentence {
        let said = self.own_words(event).unwrap_or_else(|| self.usual(event));
        let said = match event.unreadable() {
            Some(_) => said.and(" (what was recorded can't be read)"),
            None => said,
        };
        whole(event, said)
    }

    /// What several `UPDATED` events of one object and one actor come to, oldest first, and the one sentence for
    /// them, in the words for an event that had made all these changes at once. A field that came back to what it
    /// was is told after that.
    pub fn render_net(&self, events: &[&Event]) -> (Vec<NetChange>, Sentence) {
        let net = self.net_changes(events);
        let Some(newest) = events.last() else {
            return (net, Sentence::default());
        };
        let own_words = at_once(newest, &net).and_then(|event| self.own_words(&event));
        let said =
            own_words.unwrap_or_else(|| Sentence::changed(newest, &net, |net| &net.change.field, Sentence::net_change));
        (net, whole(newest, said))
    }

    fn own_words(&self, event: &Event) -> Option<Sentence> {
        (self.models.get(event.object_type.as_str())?.own_words)(event)
    }

    /// The type of a model's column.
    pub(super) fn column(&self, object_type: &str, name: &str) -> Option<FieldType> {
        (self.models.get(object_type)?.column)(name)
    }

    /// Everything but the actor and the reason.
    fn usual(&self, event: &Event) -> Sentence {
        match event.data() {
            Ok(EventData::Updated(_)) => {
                Sentence::changed(event, &self.changes(event), |change| &change.field, Sentence::change)
            }
            Ok(EventData::StateChanged(_)) => self
                .changes(event)
                .iter()
                .fold(Sentence::text("moved ").object(event), Sentence::change),
            Ok(EventData::Custom(data)) => Sentence::text(format!("recorded {} on ", spaced(&data.name))).object(event),
            // A raw payload, or one that a newer program wrote: what happened is known all the same.
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

/// The event that would have made these changes at once, with the newest one's envelope; `None` if all came back.
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

/// Who, in whose name, and why, around what was done.
fn whole(event: &Event, said: Sentence) -> Sentence {
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
    sentence.parts.extend(said.parts);
    sentence.because(event.reason.as_deref())
}

/// A name in the database for people: `client_email` is `client email`.
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ")
}
