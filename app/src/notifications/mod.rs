//! Notifications. A person has one row per thread, which counts new messages until the person reads it.
//!
//! **Parts.** The consumer `daybook.send_notifications` handles events, after the consumer that posts them to threads.
//! `threads` calls [`notify_of_comment`] for a comment. Both notify the people who follow the thread and have not muted
//! it. A created object also notifies the people who watch its type, and a comment the people whom it mentions. The
//! actor, and the person on whose behalf the actor acts, are not notified.
//!
//! **The life of a notification.** The first message creates the row. Each further message increases the row's count
//! and moves it to the top of the inbox. When the person reads it, the count becomes 0 and the row stays; the next
//! message makes it unread again. Every change increments `version`, so that the newest of two states is known. Reading
//! does not move a row: the inbox is ordered by the time of each thread's latest message.
//!
//! **Preferences.** A person's preferences are applied when the rows are written, and the reason for a notification is
//! stored with it. `preferences` defines which rule counts.
//!
//! **Deleted comments.** A row stores the positions of the newest messages that it counts (`unread_seqs`), so that a
//! deleted comment can be subtracted. A row that counts nothing else becomes read. A mention that an edit adds to a
//! comment notifies like a mention in a new comment, once per person and comment.
//!
//! **Invariant:** a writer of notifications holds the lock of the thread's row until the commit. So if two messages are
//! in one thread, the notification of the later one is also written later. **Invariant:** a statement writes rows in
//! the order of (person, thread), whatever their number, so that two transactions that notify the same people don't
//! deadlock.
//!
//! The sentence is not stored. It is rendered from the newest message when the inbox is read.

mod consumer;
mod preferences;
mod routes;
mod signals;
mod state;
mod store;
mod why;

use uuid::Uuid;

pub use consumer::send_notifications;
pub use preferences::{Occasion, Rule, require_object_type};
pub use routes::{Inbox, Notification, NotifiedThread, ReadAll, ReadState, Reason, routes};
pub(crate) use signals::{NOTIFICATIONS_NAME, notifications_signal};
pub use state::{InboxState, changed_since, state};
pub use why::{Followed, Why};

use crate::error::Result;
use crate::tenancy::{Context, TeamTx};

/// Notifies people of a comment: followers of the thread (reason `follower`), and people whom it mentions (reason
/// `mentioned`, even if they have unfollowed the thread). The author, people who have muted the thread, and people
/// whose preferences exclude it are not notified. Sends one statement, and one more if the comment mentions people.
///
/// The comment must have got its `seq` in this transaction, so that the thread's row is locked.
///
/// # Errors
/// Those of any database statement.
pub async fn notify_of_comment(tx: &TeamTx, thread_id: Uuid, seq: i64, mentioned: &[Uuid]) -> Result<()> {
    store::deliver_comment(tx, thread_id, seq, mentioned, &initiators(tx.context())).await
}

/// Notifies people of a mention that an edit has added to a comment. The author, people who have muted the thread, and
/// people whose preferences exclude mentions are not notified. Sends no statement if `mentioned` is empty.
///
/// The thread's row must be locked in this transaction.
///
/// # Errors
/// Those of any database statement.
pub async fn notify_of_mention(tx: &TeamTx, thread_id: Uuid, seq: i64, mentioned: &[Uuid]) -> Result<()> {
    store::deliver_mention(tx, thread_id, seq, mentioned, &initiators(tx.context()))
        .await
        .map(drop)
}

/// Removes a deleted comment from the unread notifications that count it. A notification that counts nothing else
/// becomes read. Sends one statement.
///
/// The thread's row must be locked in this transaction.
///
/// # Errors
/// Those of any database statement.
pub async fn retract_comment(tx: &TeamTx, thread_id: Uuid, seq: i64) -> Result<()> {
    store::retract_comment(tx, thread_id, seq).await
}

/// Marks a person's notification of a thread as read up to a position. It becomes read if it counts no later message.
/// Sends one statement.
///
/// # Errors
/// Those of any database statement.
pub async fn read_up_to(tx: &TeamTx, user_id: Uuid, thread_id: Uuid, seq: i64) -> Result<()> {
    store::read_up_to(tx, user_id, thread_id, seq).await
}

/// Returns the people who are not notified: the actor, and the person on whose behalf the actor acts.
fn initiators(context: &Context) -> Vec<Uuid> {
    context
        .on_behalf_of
        .iter()
        .map(|person| person.id)
        .chain(context.actor.user_id())
        .collect()
}
