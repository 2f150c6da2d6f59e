//! Reads what has changed since a position: in one thread by its numbers, in a team by its transactions.

use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reading::message;
use crate::error::{Error, Result};
use crate::events::{EventsParts, event_columns, join_event};
use crate::tenancy::{FeedPosition, FeedWindow, Snapshot, TeamTx, from_window};
use crate::threads::message::Message;

/// A position in a thread's history. Both numbers are incremented under the lock of the thread's row. So of two
/// positions in one thread, neither number of the later one is lower.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The number of messages.
    pub seq: i64,
    /// The number of edits and deletions.
    pub revision: i64,
}

/// A thread's id, and the object that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ThreadRef {
    /// Its id.
    pub id: Uuid,
    /// The object's type.
    pub object_type: String,
    /// The object's id.
    pub object_id: String,
    /// The object's latest label.
    pub object_label: String,
}

/// A piece of a thread's history.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The thread.
    pub thread: ThreadRef,
    /// New messages, in order.
    pub created: Vec<Message>,
    /// Older messages that were changed, each with the revision of its last change, in that order.
    pub changed: Vec<(i64, Message)>,
    /// The end of this piece.
    pub to: Cursor,
    /// The end of the thread's history. If it is not `to`, another piece follows.
    pub head: Cursor,
}

/// Reads the next piece of a thread's history after `after`: at most `limit` new messages, or else changes. Returns
/// `None` if there is no such thread. Sends one statement, so that all parts are from one snapshot.
///
/// # Errors
/// Those of any database statement.
pub async fn changes(tx: &TeamTx, thread_id: Uuid, after: Cursor, limit: i64) -> Result<Option<Changes>> {
    // Each part of the UNION reads a range of an index. A single condition with OR would read the whole thread.
    let query = sqlx::query(concat!(
        "SELECT t.last_seq, t.revision AS t_revision, t.id AS t_id, t.object_type AS t_object_type,
            t.object_id AS t_object_id, t.object_label AS t_object_label,
            m.seq, m.revision, m.kind, m.event_id, m.author_kind, m.author_id, ",
        message_names!(),
        ", m.body,
            m.created_at AS m_created_at, m.edited_at, m.deleted_at, m.is_new, ",
        event_columns!("e."),
        " FROM threads t
         LEFT JOIN LATERAL (
             (SELECT m.seq, m.revision, m.kind, m.event_id, m.author_kind, m.author_id, m.author_name, m.on_behalf_of,
                  m.on_behalf_of_name, m.body, m.created_at, m.edited_at, m.deleted_at, true AS is_new
              FROM thread_messages m
              WHERE m.team_id = $1 AND m.thread_id = $2 AND m.seq > $3 ORDER BY m.seq LIMIT $5)
             UNION ALL
             (SELECT m.seq, m.revision, m.kind, m.event_id, m.author_kind, m.author_id, m.author_name, m.on_behalf_of,
                  m.on_behalf_of_name, m.body, m.created_at, m.edited_at, m.deleted_at, false
              FROM thread_messages m
              WHERE m.team_id = $1 AND m.thread_id = $2 AND m.revision > $4 AND m.revision > 0 AND m.seq <= $3
              ORDER BY m.revision LIMIT $5)
         ) m ON true
         ",
        join_event!("m.event_id"),
        " WHERE t.team_id = $1 AND t.id = $2
         ORDER BY m.is_new DESC, CASE WHEN m.is_new THEN m.seq ELSE m.revision END",
    ))
    .bind(tx.team_id())
    .bind(thread_id)
    .bind(after.seq)
    .bind(after.revision)
    .bind(limit);
    let rows = tx.fetch_all(query).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let head = Cursor {
        seq: first.try_get("last_seq")?,
        revision: first.try_get("t_revision")?,
    };
    let mut piece = Changes {
        thread: thread_ref(first)?,
        created: Vec::new(),
        changed: Vec::new(),
        to: after,
        head,
    };
    let sentences = &EventsParts::of_tx(tx)?.sentences;
    for row in &rows {
        let Some(message) = message(sentences, row)? else {
            continue;
        };
        if row.try_get("is_new")? {
            piece.to.seq = message.seq;
            piece.created.push(message);
        } else if piece.to.seq == head.seq {
            piece.to.revision = row.try_get("revision")?;
            piece.changed.push((piece.to.revision, message));
        }
    }
    // Everything was read. A message that was read as new is not in the second part, even if it was changed. So the
    // revision is set to the thread's.
    let full = i64::try_from(piece.changed.len()).is_ok_and(|changed| changed >= limit);
    if piece.to.seq == head.seq && !full {
        piece.to.revision = head.revision;
    }
    Ok(Some(piece))
}

/// Returns the end of a thread's history, or `None` if there is no such thread.
///
/// # Errors
/// Those of any database statement.
pub async fn head(tx: &TeamTx, thread_id: Uuid) -> Result<Option<(ThreadRef, Cursor)>> {
    let query = sqlx::query(
        "SELECT id AS t_id, object_type AS t_object_type, object_id AS t_object_id, object_label AS t_object_label,
             last_seq, revision FROM threads WHERE team_id = $1 AND id = $2",
    )
    .bind(tx.team_id())
    .bind(thread_id);
    let Some(row) = tx.fetch_optional(query).await? else {
        return Ok(None);
    };
    let head = Cursor {
        seq: row.try_get("last_seq")?,
        revision: row.try_get("revision")?,
    };
    Ok(Some((thread_ref(&row)?, head)))
}

/// Returns the ends of these threads' histories, without threads that don't exist. Sends one statement.
///
/// # Errors
/// Those of any database statement.
pub async fn heads(tx: &TeamTx, thread_ids: &[Uuid]) -> Result<Vec<(Uuid, Cursor)>> {
    let query = sqlx::query("SELECT id, last_seq, revision FROM threads WHERE team_id = $1 AND id = ANY ($2)")
        .bind(tx.team_id())
        .bind(thread_ids);
    tx.fetch_all(query)
        .await?
        .iter()
        .map(|row| {
            let head = Cursor {
                seq: row.try_get("last_seq")?,
                revision: row.try_get("revision")?,
            };
            Ok((row.try_get("id")?, head))
        })
        .collect()
}

fn thread_ref(row: &PgRow) -> Result<ThreadRef> {
    Ok(ThreadRef {
        id: row.try_get("t_id")?,
        object_type: row.try_get("t_object_type")?,
        object_id: row.try_get("t_object_id")?,
        object_label: row.try_get("t_object_label")?,
    })
}

/// A piece of a team's feed: new and changed messages.
#[derive(Debug)]
pub struct MessageFeedPage {
    /// In the order of their feed positions. Messages of one thread may be in a different order than in the thread.
    pub messages: Vec<(FeedPosition, ThreadRef, Message)>,
    /// The snapshot of the statement.
    pub now: Snapshot,
}

/// Reads the next messages of a team in a window, at most `limit`. Sends one statement, so that the messages belong to
/// the returned snapshot.
///
/// # Errors
/// Those of any database statement.
pub async fn feed(tx: &TeamTx, window: &FeedWindow, limit: i64) -> Result<MessageFeedPage> {
    let query = sqlx::query(concat!(
        "SELECT now.snapshot, m.transaction_id AS m_transaction_id, m.thread_id,
            t.id AS t_id, t.object_type AS t_object_type, t.object_id AS t_object_id, t.object_label AS t_object_label,
            m.seq, m.kind, m.event_id, m.author_kind, m.author_id, ",
        message_names!(),
        ", m.body,
            m.created_at AS m_created_at, m.edited_at, m.deleted_at, ",
        event_columns!("e."),
        from_window!((
            "thread_messages",
            "transaction_id, thread_id, seq, kind, event_id, author_kind, author_id, author_name, on_behalf_of,
                  on_behalf_of_name, body, created_at, edited_at, deleted_at",
            "transaction_id, thread_id, seq"
        )),
        "LEFT JOIN threads t ON t.team_id = $1 AND t.id = m.thread_id
         ",
        join_event!("m.event_id"),
        " ORDER BY m.transaction_id, m.thread_id, m.seq",
    ));
    let rows = tx.fetch_all(window.bind(query, tx.team_id(), limit)).await?;
    let first = rows
        .first()
        .ok_or_else(|| Error::internal("the statement for a feed returned no row"))?;
    let sentences = &EventsParts::of_tx(tx)?.sentences;
    let mut piece = MessageFeedPage {
        messages: Vec::with_capacity(rows.len()),
        now: first.try_get::<&str, _>("snapshot")?.parse().map_err(Error::internal)?,
    };
    for row in &rows {
        let Some(message) = message(sentences, row)? else {
            continue;
        };
        let position = FeedPosition {
            transaction_id: row.try_get("m_transaction_id")?,
            id: row.try_get("thread_id")?,
            seq: message.seq,
        };
        piece.messages.push((position, thread_ref(row)?, message));
    }
    Ok(piece)
}
