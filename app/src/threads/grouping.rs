//! Groups consecutive edits by one actor into one item.
//!
//! **Which messages are one group.** Two neighbours in a thread join if both are `UPDATED` events with recorded
//! changes, and they have the same actor, the same person on whose behalf the actor acts, and the same reason. They
//! must be at most five minutes apart. A group is the longest sequence of neighbours that join. A comment, or another
//! actor's change, ends it.
//!
//! Whether two neighbours join depends only on these two. So a page can begin anywhere. A group that is cut by the edge
//! of a page has a flag for that side (`cut_before`, `cut_after`), even if only one of its messages is on the page. A
//! client that puts pages together joins the cut parts. A client that receives single messages can join each to the one
//! before it. For the same reason the five minutes are measured between neighbours. The group's first message may not
//! be on the page.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::message::{Author, Content, Message, RenderedEvent};
use crate::events::{Event, EventType, NetChange, ObjectRef, Sentence, Sentences};

/// The maximum time between two consecutive edits of a group.
const MAX_EDIT_GAP: TimeDelta = TimeDelta::minutes(5);

/// An item of a page: a message or a group.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ThreadItem)]
#[non_exhaustive]
pub enum Item {
    /// One message.
    Message(Box<Message>),
    /// Several messages. Only if the client has requested groups.
    Group(Box<Group>),
}

/// Several consecutive edits by one actor.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = MessageGroup)]
pub struct Group {
    /// `group`.
    pub kind: GroupKind,
    /// The position from which the next page continues: `last_seq` forward, `first_seq` backward.
    pub seq: i64,
    /// The position of the first message.
    pub first_seq: i64,
    /// The position of the last message. All messages between the two are in the group.
    pub last_seq: i64,
    /// Whether the group begins before this page.
    pub cut_before: bool,
    /// Whether the group continues after this page.
    pub cut_after: bool,
    /// When the first message was posted.
    pub created_at: DateTime<Utc>,
    /// When the last message was posted.
    pub updated_at: DateTime<Utc>,
    /// The changed object.
    pub object: ObjectRef,
    /// The actor who changed it.
    pub actor: Author,
    /// The person for whom the actor acted, if that is another person.
    pub on_behalf_of: Option<Author>,
    /// For each field, its value before the first and after the last of these messages.
    pub changes: Vec<NetChange>,
    /// A sentence for all changes together, in parts.
    pub sentence: Sentence,
    /// The sentence as plain text.
    pub text: String,
    /// The messages, oldest first.
    pub items: Vec<Message>,
}

/// The `kind` of a group, which distinguishes it from messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GroupKind {
    /// A group.
    Group,
}

/// A message, with its event if it has one.
pub(super) type MessageWithEvent = (Message, Option<Event>);

/// Groups the messages of a page, oldest first. `messages` contains the page's messages, which are those above `low` up
/// to `high`, and one neighbour on each side, if there is one.
pub(super) fn grouped(sentences: &Sentences, messages: &[MessageWithEvent], low: i64, high: i64) -> Vec<Item> {
    if high <= low {
        return Vec::new();
    }
    messages
        .chunk_by(|one, next| join(&one.0, &next.0))
        .filter_map(|run| {
            let cut_before = run.first()?.0.seq <= low;
            let cut_after = run.last()?.0.seq > high;
            let inside = &run[usize::from(cut_before)..run.len() - usize::from(cut_after)];
            match inside {
                // The neighbour joins no message of this page.
                [] => None,
                [(message, _)] if !cut_before && !cut_after => Some(Item::Message(Box::new(message.clone()))),
                edits => group(sentences, edits, cut_before, cut_after),
            }
        })
        .collect()
}

fn group(sentences: &Sentences, messages: &[MessageWithEvent], cut_before: bool, cut_after: bool) -> Option<Item> {
    let ((first, _), (last, _)) = (messages.first()?, messages.last()?);
    let newest = edit(last)?;
    let events: Vec<_> = messages.iter().filter_map(|(_, event)| event.as_ref()).collect();
    let (changes, sentence) = sentences.render_net(&events);
    Some(Item::Group(Box::new(Group {
        kind: GroupKind::Group,
        seq: last.seq,
        first_seq: first.seq,
        last_seq: last.seq,
        cut_before,
        cut_after,
        created_at: first.created_at,
        updated_at: last.created_at,
        object: newest.object.clone(),
        actor: newest.actor.clone(),
        on_behalf_of: newest.on_behalf_of.clone(),
        changes,
        text: sentence.to_string(),
        sentence,
        items: messages.iter().map(|(message, _)| message.clone()).collect(),
    })))
}

/// Returns the message's event, if it is an edit.
fn edit(message: &Message) -> Option<&RenderedEvent> {
    match &message.content {
        Content::System { event: Some(event), .. } if event.event_type == EventType::Updated => {
            (!event.changes.is_empty()).then_some(event)
        }
        _ => None,
    }
}

fn join(one: &Message, next: &Message) -> bool {
    let (Some(a), Some(b)) = (edit(one), edit(next)) else {
        return false;
    };
    a.actor == b.actor
        && a.on_behalf_of == b.on_behalf_of
        && a.reason == b.reason
        && (next.created_at - one.created_at).abs() <= MAX_EDIT_GAP
}

impl Item {
    /// Sets the position for a backward page: the next page begins below the group's first message.
    pub(super) fn backward(mut self) -> Self {
        if let Self::Group(group) = &mut self {
            group.seq = group.first_seq;
        }
        self
    }
}
