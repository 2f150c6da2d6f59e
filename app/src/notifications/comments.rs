//! Notifies people of comments, for `threads`.

use uuid::Uuid;

use super::initiators::initiators;
use super::store;
use crate::error::Result;
use crate::tenancy::TeamTx;

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
