//! What a person should look at: one row per person and thread, that counts while it is unread.
//!
//! **Who plays.** The consumer `daybook.send_notifications` runs after the one that posts to threads and tells
//! of events; [`notify_of_comment`] tells of a comment, and `threads` calls it. Both reach who follows the
//! thread and hasn't muted it; a created object also reaches who watches its type, a comment also whom it
//! mentions. Whoever did it, and in whose name it was done, know already.
//!
//! **The life of a notification.** The first message puts the row there, each further one counts it up and
//! moves it to the top of the inbox, until its person reads it: the count is 0 then, the row stays, and the
//! next message wakes it again. Every change counts `version` up, so that the newest state wins wherever
//! two are compared. Reading doesn't move it: the inbox is ordered by when a thread last called.
//!
//! **What each wants.** A person's preferences are applied where the rows are written, and why somebody was told is
//! kept there: `preferences` says which rule counts.
//!
//! **What is taken back.** A row keeps the places of the newest messages that it counts (`unread_seqs`), so that a
//! comment that is deleted leaves the count; a row that counted nothing else is read then. What an edit adds to a
//! comment's mentions is notified like a mention in a new comment, once a person and comment.
//!
//! **Invariant:** the thread's row is locked by whoever tells here, until the commit. So of two messages in
//! one thread the later one's notification is also written later.
//! **Invariant:** a statement writes rows in the order of (person, thread), whatever the number: two transactions
//! that notify the same people wait for each other and don't block each other for good.
//!
//! The sentence is not stored. It is told from the newest message when the inbox is read.

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

/// Notifies of a comment: who follows the thread (reason `follower`) and whom it mentions (reason `mentioned`,
/// even if they unfollowed), but nobody who muted the thread or prefers not to be notified of it, and not the author.
/// One statement, and one more if somebody is mentioned.
///
/// The comment must have taken its `seq` in this transaction, so that the thread's row is locked.
///
/// # Errors
/// As any statement.
pub async fn notify_of_comment(tx: &TeamTx, thread_id: Uuid, seq: i64, mentioned: &[Uuid]) -> Result<()> {
    store::deliver_comment(tx, thread_id, seq, mentioned, &doers(tx.context())).await
}

/// Notifies people of a mention that an edit has added to a comment: those who haven't muted the thread and want to
/// be notified of mentions, but not the author. No statement if there is nobody.
///
/// The thread's row must be locked in this transaction.
///
/// # Errors
/// As any statement.
pub async fn notify_of_mention(tx: &TeamTx, thread_id: Uuid, seq: i64, mentioned: &[Uuid]) -> Result<()> {
    store::deliver_mention(tx, thread_id, seq, mentioned, &doers(tx.context()))
        .await
        .map(drop)
}

/// Takes a comment that is deleted out of the unread notifications that count it. A notification that counted nothing
/// else is read then. One statement.
///
/// The thread's row must be locked in this transaction.
///
/// # Errors
/// As any statement.
pub async fn retract_comment(tx: &TeamTx, thread_id: Uuid, seq: i64) -> Result<()> {
    store::retract_comment(tx, thread_id, seq).await
}

/// Marks a person's notification of a thread as read up to a place: wholly, if it tells of nothing newer. One
/// statement.
///
/// # Errors
/// As any statement.
pub async fn read_up_to(tx: &TeamTx, user_id: Uuid, thread_id: Uuid, seq: i64) -> Result<()> {
    store::read_up_to(tx, user_id, thread_id, seq).await
}

/// Who knows already: the actor and the person in whose name they act.
fn doers(context: &Context) -> Vec<Uuid> {
    context
        .on_behalf_of
        .iter()
        .map(|person| person.id)
        .chain(context.actor.user_id())
        .collect()
}
