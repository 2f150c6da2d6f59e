//! One actor's edits in a row, told as one line that opens to its parts.
//!
//! **Which messages are one group.** Two neighbours of a thread join if both tell of an `UPDATED` event with recorded
//! changes, by the same actor, in the same name and for the same reason, and not more than five minutes lie between
//! them. A group is a longest run of neighbours that join; a comment, or anybody else's change, ends it.
//!
//! Whether two neighbours join is decided by these two alone. So it doesn't matter where a page begins: a group that
//! a page's edge cuts says so at that side (`cut_before`, `cut_after`), even if only one of its messages is on the
//! page, and who puts pages together joins what was cut; who is sent messages one by one can join each to the one
//! before it. That is why the window is between neighbours: counted from a group's first message, a page that begins
//! in the middle of a group couldn't know.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::message::{Author, Content, Message, ToldEvent};
use crate::events::{Event, EventType, NetChange, ObjectRef, Sentence, Sentences};

/// What may lie between two edits of a group.
const WINDOW: TimeDelta = TimeDelta::minutes(5);

/// A line of a thread.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ThreadItem)]
#[non_exhaustive]
pub enum Item {
    /// One message.
    Message(Box<Message>),
    /// Several; only where they were asked for.
    Group(Box<Group>),
}

/// Several edits of one actor in a row.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = MessageGroup)]
pub struct Group {
    /// `group`.
    pub kind: GroupKind,
    /// Where to go on from, as after any item: `last_seq` going forward, `first_seq` going backward.
    pub seq: i64,
    /// The place of the first message.
    pub first_seq: i64,
    /// The place of the last message. Those between are all in the group.
    pub last_seq: i64,
    /// True: the group begins before this page.
    pub cut_before: bool,
    /// True: the group goes on after this page.
    pub cut_after: bool,
    /// When the first message was posted.
    pub created_at: DateTime<Utc>,
    /// When the last message was posted.
    pub updated_at: DateTime<Utc>,
    /// What was changed.
    pub object: ObjectRef,
    /// Who changed it.
    pub actor: Author,
    /// In whose name, where that is another person.
    pub on_behalf_of: Option<Author>,
    /// Each field before the first and after the last of these messages.
    pub changes: Vec<NetChange>,
    /// The sum in words, part by part.
    pub sentence: Sentence,
    /// The sentence as plain text.
    pub text: String,
    /// The messages, the oldest first.
    pub items: Vec<Message>,
}

/// Tells a group from messages by its `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GroupKind {
    /// It is one.
    Group,
}

/// A message, and the event that it tells of.
pub(super) type Told = (Message, Option<Event>);

/// Puts the messages of a page together, the oldest first. `told` are the page's, those above `low` up to `high`, and
/// its neighbours on both sides, if there are any.
pub(super) fn grouped(sentences: &Sentences, told: &[Told], low: i64, high: i64) -> Vec<Item> {
    if high <= low {
        return Vec::new();
    }
    told.chunk_by(|one, next| join(&one.0, &next.0))
        .filter_map(|run| {
            let cut_before = run.first()?.0.seq <= low;
            let cut_after = run.last()?.0.seq > high;
            let inside = &run[usize::from(cut_before)..run.len() - usize::from(cut_after)];
            match inside {
                // A neighbour that joins nothing here.
                [] => None,
                [(message, _)] if !cut_before && !cut_after => Some(Item::Message(Box::new(message.clone()))),
                edits => group(sentences, edits, cut_before, cut_after),
            }
        })
        .collect()
}

fn group(sentences: &Sentences, told: &[Told], cut_before: bool, cut_after: bool) -> Option<Item> {
    let ((first, _), (last, _)) = (told.first()?, told.last()?);
    let newest = edit(last)?;
    let events: Vec<_> = told.iter().filter_map(|(_, event)| event.as_ref()).collect();
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
        items: told.iter().map(|(message, _)| message.clone()).collect(),
    })))
}

/// The event, if the message tells of an edit.
fn edit(message: &Message) -> Option<&ToldEvent> {
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
        && (next.created_at - one.created_at).abs() <= WINDOW
}

impl Item {
    /// For a page that goes backward, where the next one begins below the group's first message.
    pub(super) fn backward(mut self) -> Self {
        if let Self::Group(group) = &mut self {
            group.seq = group.first_seq;
        }
        self
    }
}
