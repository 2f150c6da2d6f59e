//! Renders events as sentences. No other module does this.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sea_orm::ColumnTrait;

use super::changes::{ChangedField, NetChange};
use super::event::Event;
use super::event_type::EventType;
use super::field_type::FieldType;
use super::payload::{EventData, EventPayload, FieldChange, FieldChanges, UpdatedEventData};
use super::sentence::{Part, Sentence};
use super::spaced::spaced;
use super::tracked::{Tracked, find_column};

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

/// What sentences need of the program's models: their own sentences and the types of their fields. A model
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
    pub fn with_custom_sentences(mut self, object_type: &'static str, own_sentence: SentenceFn) -> Self {
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

    /// Returns what an event changed, by field; empty if the event has no typed changes.
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

    /// Returns the net change of several `UPDATED` events of one object, oldest first: each field before the first and
    /// after the last event. A field that is redacted in one of them is redacted in the result.
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
                // If two shortened values have the same beginning, the rest may still differ.
                let came_back =
                    !change.redacted && !change.truncated && change.field_type.same(&change.old, &change.new);
                NetChange { change, came_back }
            })
            .collect()
    }

    fn own_sentence(&self, event: &Event) -> Option<Sentence> {
        (self.models.get(event.object_type.as_str())?.own_sentence)(event)
    }

    /// Returns the type of a model's column.
    fn column(&self, object_type: &str, name: &str) -> Option<FieldType> {
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
