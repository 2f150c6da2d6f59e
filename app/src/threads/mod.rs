//! Threads: the events and comments of an object, in one list. Each object has one thread.
//!
//! **Parts.** The consumer `daybook.post_to_thread` gives every threadable object a thread, and posts a message for
//! each of its events. People post comments. A person who creates an object, comments on it or is mentioned with
//! `@handle` follows its thread, unless they have unfollowed it, and is notified of new messages (`notifications`). A
//! person who watches an object type is notified of every new object.
//!
//! **The life of a message.** A writer increments the thread's `last_seq`, which locks the thread's row until the
//! commit, and takes the number. The message of an event stores only the event's id: its sentence is rendered when the
//! message is read. The author of a comment can edit and delete it; its number stays.
//!
//! **Reading.** A thread is read in pages, by `seq`, forward or backward. `grouping` defines which edits are shown as
//! one item. Each person, follower or not, has a read mark, which only moves forward. Messages after it are new to the
//! person. A person's own message moves their mark, if nothing before it was new.
//!
//! **Invariant:** a thread's `seq` counts from 1 without gaps, in commit order, and no message is ever removed. So a
//! page is a range of numbers, a reader can check that it has everything, and `last_seq` is the number of messages.
//! **Invariant:** each consumer sends one statement, whatever the number of events of one type.
//! **Invariant:** a person's own choice stays: a person who has unfollowed a thread does not become a follower again by
//! a comment or a mention. A mention still notifies them, unless they have muted the thread.
//!
//! An edit of a comment notifies only people whom the comment did not mention before. Nobody can delete another
//! author's comment, because a thread is a record.

mod consumer;
mod grouping;
mod mentions;
mod message;
mod routes;
mod signals;
mod store;

use uuid::Uuid;

pub use consumer::post_to_thread;
pub use grouping::{Group, GroupKind, Item};
pub use message::{Author, Content, Message, MessagePage, RenderedEvent};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use routes::fuzz_filters;
pub use routes::routes;
pub(crate) use signals::{THREAD_NAME, THREADS, THREADS_NAME, thread_signal};
pub use store::{Changes, Cursor, MessageFeedPage, ThreadRef, Window, changes, feed, head, heads};

use crate::error::Result;
use crate::tenancy::TeamTx;

/// Reads a page of a thread's messages, with rendered events. Returns `None` if there is no such thread. Sends one
/// statement.
///
/// # Errors
/// Those of any database statement.
pub async fn read_messages(tx: &TeamTx, thread_id: Uuid, window: Window) -> Result<Option<MessagePage>> {
    let request = store::PageRequest {
        window,
        since: None,
        reader: None,
        neighbours: false,
    };
    let Some(page) = store::read_page(tx, thread_id, request).await? else {
        return Ok(None);
    };
    let mut items: Vec<_> = page.messages.into_iter().map(|(message, _)| message).collect();
    if matches!(window, Window::Backward { .. }) {
        items.reverse();
    }
    Ok(Some(MessagePage {
        items,
        last_seq: page.last_seq,
        more: page.more,
    }))
}
