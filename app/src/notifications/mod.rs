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

mod comments;
mod consumer;
mod initiators;
mod preferences;
mod routes;
mod signals;
mod state;
mod store;
mod why;

pub use comments::{notify_of_comment, notify_of_mention, retract_comment};
pub use consumer::send_notifications;
pub use preferences::{Occasion, Rule, require_object_type};
pub use routes::{Inbox, Notification, NotifiedThread, ReadAll, ReadState, routes};
pub(crate) use signals::{NOTIFICATIONS_NAME, notifications_signal};
pub use state::{InboxState, changed_since, state};
pub use store::read_up_to;
pub use why::{Followed, Reason, Why};
