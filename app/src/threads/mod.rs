//! Threads: where an object's events and people's comments are read, one an object.
//!
//! **Who plays.** The consumer `daybook.post_to_thread` gives every threadable object a thread and posts a
//! message for each of its events; people post comments. Who creates an object, comments on it or is
//! mentioned with `@handle` follows its thread, until they say otherwise, and is told of what comes
//! (`notifications`). Who watches a type of objects is told of every new one.
//!
//! **The life of a message.** A writer counts the thread's `last_seq` up, which locks its row until the commit,
//! and takes the number. A message that tells of an event holds the event's id and no words: the sentence is
//! made when it is read, by the one place that says events in words. A comment may be edited and taken back
//! by its author; its number stays.
//!
//! **How it is read.** Page by page, by `seq`, forward or backward; `grouping` says which edits are told as one line.
//! Each person has a mark up to where they have read, follower or not, that only moves forward: what is behind it is
//! new to them. It moves along with what they do themselves, if nothing before that was new.
//!
//! **Invariant:** a thread's `seq` counts from 1 without gaps, in commit order, and no message ever leaves. So a
//! page is a range of numbers, a reader can check that it has everything, and `last_seq` is the count.
//! **Invariant:** each consumer sends one statement, whatever the number of events of one type.
//! **Invariant:** what one did by hand stays: who has unfollowed a thread is not made a follower again by
//! commenting or being mentioned, though a mention still reaches them unless they muted the thread.
//!
//! Editing a comment notifies only those whom it mentions and hasn't mentioned before, and there is no deleting for
//! others: a thread is a record.

mod consumer;
mod grouping;
mod mentions;
mod message;
mod routes;
mod store;

use uuid::Uuid;

pub use consumer::post_to_thread;
pub use grouping::{Group, GroupKind, Item};
pub use message::{Author, Content, Message, MessagePage, ToldEvent};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use routes::fuzz_filters;
pub use routes::routes;
pub use store::{Changes, Cursor, FeedPiece, ThreadRef, Window, changes, feed, head, heads};

use crate::error::Result;
use crate::tenancy::TeamTx;

/// A page of a thread's messages, with events in words; `None` if there is no such thread. One statement.
///
/// # Errors
/// As any statement.
pub async fn read_messages(tx: &TeamTx, thread_id: Uuid, window: Window) -> Result<Option<MessagePage>> {
    let reading = store::Reading {
        window,
        since: None,
        reader: None,
        neighbours: false,
    };
    let Some(page) = store::read_page(tx, thread_id, reading).await? else {
        return Ok(None);
    };
    let mut items: Vec<_> = page.told.into_iter().map(|(message, _)| message).collect();
    if matches!(window, Window::Backward { .. }) {
        items.reverse();
    }
    Ok(Some(MessagePage {
        items,
        last_seq: page.last_seq,
        more: page.more,
    }))
}
