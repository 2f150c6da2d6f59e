//! A message as it is read: an event in words, or a comment.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::events::{ChangedField, Event, EventType, ObjectRef, Sentence, Sentences};
use crate::http::Version;
use crate::json::Unreadable;
use crate::tenancy::{Actor, Person};

/// A part of a thread, the same for every reader.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MessagePage {
    /// In the order that was asked for.
    pub items: Vec<Message>,
    /// The newest message's place: how many messages the thread has.
    pub last_seq: i64,
    /// Whether the window goes on after these: ask again from the last item's `seq`.
    pub more: bool,
}

/// A message of a thread. The same for every reader: sentences name people by their ids, too, and a page may
/// write "You".
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Message {
    /// Its place in the thread, from 1.
    pub seq: i64,
    /// When it was posted.
    pub created_at: DateTime<Utc>,
    /// What it is.
    #[serde(flatten)]
    pub content: Content,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = MessageContent)]
#[non_exhaustive]
pub enum Content {
    /// It tells of an event.
    System {
        /// The event.
        event_id: Uuid,
        /// What it says; null for an event that is no longer at hand.
        event: Option<Box<ToldEvent>>,
    },
    /// Somebody wrote it.
    Comment {
        /// Who.
        author: Author,
        /// In whose name, where that is another person.
        on_behalf_of: Option<Author>,
        /// The text; null once it was taken back.
        body: Option<String>,
        /// When the text last changed.
        edited_at: Option<DateTime<Utc>>,
        /// When it was taken back.
        deleted_at: Option<DateTime<Utc>>,
        /// Its version, for `If-Match`.
        #[schema(example = "\"3.0\"")]
        etag: String,
    },
}

/// An event in words.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ToldEvent {
    /// The kind of change.
    pub event_type: EventType,
    /// The name of a `CUSTOM` event.
    pub event_name: Option<String>,
    /// What it happened to.
    pub object: ObjectRef,
    /// What that was called then.
    pub object_label: String,
    /// Who did it.
    pub actor: Author,
    /// In whose name, where that is another person.
    pub on_behalf_of: Option<Author>,
    /// The way in.
    pub via: Option<String>,
    /// Why, in a person's words.
    pub reason: Option<String>,
    /// The story it belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// When its transaction began.
    pub created_at: DateTime<Utc>,
    /// What changed, by field, of an `UPDATED` or `STATE_CHANGED` event that recorded it.
    pub changes: Vec<ChangedField>,
    /// Why what was recorded can't be read, if it can't: then there are no `changes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<Unreadable>,
    /// True: some values are long, and only their beginnings are here.
    pub truncated: bool,
    /// The event in words, part by part.
    pub sentence: Sentence,
    /// The sentence as plain text.
    pub text: String,
}

/// Who did or wrote something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Author {
    /// `user`, `api_key`, `job` or `system`.
    pub kind: String,
    /// Their row, where they have one.
    pub id: Option<Uuid>,
    /// What they were called then.
    pub name: String,
}

impl From<&Person> for Author {
    fn from(person: &Person) -> Self {
        Self {
            kind: "user".to_owned(),
            id: Some(person.id),
            name: person.name.clone(),
        }
    }
}

impl From<&Actor> for Author {
    fn from(actor: &Actor) -> Self {
        Self {
            kind: actor.kind().to_owned(),
            id: actor.id(),
            name: actor.name().to_owned(),
        }
    }
}

impl ToldEvent {
    /// An event in the words that the models have for it.
    pub fn new(sentences: &Sentences, event: &Event) -> Self {
        let sentence = sentences.render(event);
        let changes = sentences.changes(event);
        Self {
            event_type: event.event_type,
            event_name: event.event_name.clone(),
            object: event.object_ref(),
            object_label: event.object_label.clone(),
            actor: Author::from(&event.actor),
            on_behalf_of: event.on_behalf_of.as_ref().map(Author::from),
            via: event.via.clone(),
            reason: event.reason.clone(),
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
            created_at: event.created_at,
            unreadable: event.unreadable(),
            truncated: changes.iter().any(|change| change.truncated),
            changes,
            text: sentence.to_string(),
            sentence,
        }
    }
}

/// A comment's version: its place, and when it last changed.
pub(super) fn comment_version(
    seq: i64,
    edited_at: Option<DateTime<Utc>>,
    deleted_at: Option<DateTime<Utc>>,
) -> Version {
    let changed_us = deleted_at.or(edited_at).map_or(0, |at| at.timestamp_micros());
    Version::of(&format!("{seq}.{changed_us}"))
}
