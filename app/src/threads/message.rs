//! Messages as clients read them: a rendered event, or a comment.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::events::{ChangedField, Event, EventType, ObjectRef, Sentence, Sentences};
use crate::http::Version;
use crate::json::Unreadable;
use crate::tenancy::{Actor, Person};

/// A page of a thread's messages. It is the same for every reader.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MessagePage {
    /// The messages, in the requested order.
    pub items: Vec<Message>,
    /// The position of the newest message, which is the number of messages in the thread.
    pub last_seq: i64,
    /// Whether there are more messages in the window. The next page begins at the last item's `seq`.
    pub more: bool,
}

/// A message of a thread. It is the same for every reader. Sentences contain people's ids, so that a user interface can
/// write "You".
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Message {
    /// Its position in the thread, from 1.
    pub seq: i64,
    /// When it was posted.
    pub created_at: DateTime<Utc>,
    /// Its content.
    #[serde(flatten)]
    pub content: Content,
}

/// The content of a message: an event or a comment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = MessageContent)]
#[non_exhaustive]
pub enum Content {
    /// An event.
    System {
        /// The event's id.
        event_id: Uuid,
        /// The rendered event; null if the event no longer exists.
        event: Option<Box<RenderedEvent>>,
    },
    /// A comment.
    Comment {
        /// Its author.
        author: Author,
        /// The person for whom the author acted, if that is another person.
        on_behalf_of: Option<Author>,
        /// The text; null if the comment was deleted.
        body: Option<String>,
        /// When the text last changed.
        edited_at: Option<DateTime<Utc>>,
        /// When the comment was deleted.
        deleted_at: Option<DateTime<Utc>>,
        /// Its version, for `If-Match`.
        #[schema(example = "\"3.0\"")]
        etag: String,
    },
}

/// A rendered event: its fields and its sentence.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RenderedEvent {
    /// The kind of change.
    pub event_type: EventType,
    /// The name of a `CUSTOM` event.
    pub event_name: Option<String>,
    /// The object of the event.
    pub object: ObjectRef,
    /// The object's label at that time.
    pub object_label: String,
    /// The actor.
    pub actor: Author,
    /// The person for whom the actor acted, if that is another person.
    pub on_behalf_of: Option<Author>,
    /// The interface through which the actor acted.
    pub via: Option<String>,
    /// The reason that the actor gave.
    pub reason: Option<String>,
    /// The id of the story that the event belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// When its transaction began.
    pub created_at: DateTime<Utc>,
    /// The changed fields of an `UPDATED` or `STATE_CHANGED` event, if it recorded them.
    pub changes: Vec<ChangedField>,
    /// Why the payload can't be read, if it can't. Then `changes` is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<Unreadable>,
    /// Whether long values were cut.
    pub truncated: bool,
    /// The event's sentence, in parts.
    pub sentence: Sentence,
    /// The sentence as plain text.
    pub text: String,
}

/// The actor of an event, or the author of a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Author {
    /// `user`, `api_key`, `job` or `system`.
    pub kind: String,
    /// The actor's id; null for `system`.
    pub id: Option<Uuid>,
    /// The name at that time.
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

impl RenderedEvent {
    /// Renders an event with the models' sentences.
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

/// Returns a comment's version: its position, and the time of its last change.
pub(super) fn comment_version(
    seq: i64,
    edited_at: Option<DateTime<Utc>>,
    deleted_at: Option<DateTime<Utc>>,
) -> Version {
    let changed_us = deleted_at.or(edited_at).map_or(0, |at| at.timestamp_micros());
    Version::of(&format!("{seq}.{changed_us}"))
}
