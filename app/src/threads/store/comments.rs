//! Edits and deletes comments. Their position in the thread stays.

use chrono::{DateTime, Utc};
use sqlx::Row;
use uuid::Uuid;

use crate::error::Result;
use crate::events::shown_name;
use crate::tenancy::{Person, TeamTx};
use crate::threads::thread_signal;

/// A message that is about to be changed.
#[derive(Debug)]
pub(in crate::threads) struct CommentRow {
    pub(in crate::threads) is_comment: bool,
    pub(in crate::threads) author_kind: Option<String>,
    pub(in crate::threads) author_id: Option<Uuid>,
    pub(in crate::threads) author_name: Option<String>,
    pub(in crate::threads) on_behalf_of: Option<Person>,
    pub(in crate::threads) body: Option<String>,
    pub(in crate::threads) created_at: DateTime<Utc>,
    pub(in crate::threads) edited_at: Option<DateTime<Utc>>,
    pub(in crate::threads) deleted_at: Option<DateTime<Utc>>,
}

/// Reads a message and locks it until the commit. Returns `None` if there is no such message.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn lock_comment(tx: &TeamTx, thread_id: Uuid, seq: i64) -> Result<Option<CommentRow>> {
    let query = sqlx::query(concat!(
        "SELECT kind = 'comment' AS is_comment, author_kind, author_id, ",
        shown_name!("author_id", "author_name"),
        " AS author_name, on_behalf_of, ",
        shown_name!("on_behalf_of", "on_behalf_of_name"),
        " AS on_behalf_of_name, body, created_at, edited_at, deleted_at
         FROM thread_messages WHERE team_id = $1 AND thread_id = $2 AND seq = $3
         FOR NO KEY UPDATE",
    ))
    .bind(tx.team_id())
    .bind(thread_id)
    .bind(seq);
    let Some(row) = tx.fetch_optional(query).await? else {
        return Ok(None);
    };
    Ok(Some(CommentRow {
        is_comment: row.try_get("is_comment")?,
        author_kind: row.try_get("author_kind")?,
        author_id: row.try_get("author_id")?,
        author_name: row.try_get("author_name")?,
        on_behalf_of: match (row.try_get("on_behalf_of")?, row.try_get("on_behalf_of_name")?) {
            (Some(id), Some(name)) => Some(Person { id, name }),
            _ => None,
        },
        body: row.try_get("body")?,
        created_at: row.try_get("created_at")?,
        edited_at: row.try_get("edited_at")?,
        deleted_at: row.try_get("deleted_at")?,
    }))
}

/// Changes the text of a locked comment. Returns the time of the edit.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn edit_comment(
    tx: &TeamTx,
    thread_id: Uuid,
    seq: i64,
    body: &str,
) -> Result<Option<DateTime<Utc>>> {
    let query = sqlx::query(
        "WITH thread AS (
             UPDATE threads SET revision = revision + 1 WHERE team_id = $1 AND id = $2 RETURNING revision
         )
         UPDATE thread_messages m SET body = $4, edited_at = clock_timestamp(), revision = thread.revision,
             transaction_id = pg_current_xact_id()::text::bigint
         FROM thread WHERE m.team_id = $1 AND m.thread_id = $2 AND m.seq = $3
         RETURNING m.edited_at",
    )
    .bind(tx.team_id())
    .bind(thread_id)
    .bind(seq)
    .bind(body);
    tx.signal(thread_signal(thread_id));
    Ok(tx
        .fetch_optional(query)
        .await?
        .map(|row| row.try_get("edited_at"))
        .transpose()?)
}

/// Records the members whom an edited comment did not mention before, and makes them followers, unless they have
/// unfollowed the thread. Returns them. `before` contains the handles of the text before the edit.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn mention(
    tx: &TeamTx,
    thread_id: Uuid,
    seq: i64,
    handles: &[String],
    before: &[String],
) -> Result<Vec<Uuid>> {
    let query = sqlx::query(include_str!("mention.sql"))
        .bind(tx.team_id())
        .bind(thread_id)
        .bind(seq)
        .bind(handles)
        .bind(before)
        .bind(tx.context().person_id());
    let rows = tx.fetch_all(query).await?;
    rows.iter().map(|row| Ok(row.try_get("user_id")?)).collect()
}

/// Deletes a locked comment. Its text can't be restored.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn delete_comment(tx: &TeamTx, thread_id: Uuid, seq: i64) -> Result<()> {
    let query = sqlx::query(
        "WITH thread AS (
             UPDATE threads SET revision = revision + 1 WHERE team_id = $1 AND id = $2 RETURNING revision
         )
         UPDATE thread_messages m SET body = NULL, deleted_at = clock_timestamp(), revision = thread.revision,
             transaction_id = pg_current_xact_id()::text::bigint
         FROM thread WHERE m.team_id = $1 AND m.thread_id = $2 AND m.seq = $3",
    )
    .bind(tx.team_id())
    .bind(thread_id)
    .bind(seq);
    tx.execute_sql(query).await?;
    tx.signal(thread_signal(thread_id));
    Ok(())
}
