//! What has happened since somebody last looked: in one thread by its numbers, in a team by its transactions.

use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reading::message;
use crate::error::{Error, Result};
use crate::events::{Sentences, event_columns};
use crate::tenancy::{FeedPlace, FeedWindow, Snapshot, TeamTx};
use crate::threads::message::Message;

/// A place in a thread's history. Both numbers are counted up under the lock of the thread's row, so of two
/// places in one thread neither number contradicts the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// How many messages there were.
    pub seq: i64,
    /// How often messages had been changed.
    pub revision: i64,
}

/// A thread by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ThreadRef {
    /// Its id.
    pub id: Uuid,
    /// The object's type.
    pub object_type: String,
    /// The object's id.
    pub object_id: String,
    /// What the object was last called.
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
    /// Where this piece ends.
    pub to: Cursor,
    /// Where the thread's history ends. If that is not `to`, another piece follows.
    pub head: Cursor,
}

/// The next piece of a thread's history after `after`, of at most `limit` new messages, or else of changes.
/// `None`: no such thread. One statement, so that all of it is of one moment.
///
/// # Errors
/// As any statement.
pub async fn changes(tx: &TeamTx, thread_id: Uuid, after: Cursor, limit: i64) -> Result<Option<Changes>> {
    // Twice an index's own range: an OR of the two would read the whole thread.
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
         LEFT JOIN LATERAL (
             SELECT id, team_id, event_type, event_name, object_type, object_id, object_label, threadable, scope_type,
                 scope_id, actor_kind, actor_id, actor_name, on_behalf_of, on_behalf_of_name, via, reason,
                 daybook_short_json(event_data) AS event_data,
                 schema_version, correlation_id, causation_id, request_id, transaction_id, created_at
             FROM events WHERE team_id = $1 AND id = m.event_id OFFSET 0
         ) e ON true
         WHERE t.team_id = $1 AND t.id = $2
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
    let words = Sentences::default();
    let sentences = tx.extension::<Sentences>().unwrap_or(&words);
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
    // All there is: what was changed before it was read as new was not read a second time.
    let full = i64::try_from(piece.changed.len()).is_ok_and(|changed| changed >= limit);
    if piece.to.seq == head.seq && !full {
        piece.to.revision = head.revision;
    }
    Ok(Some(piece))
}

/// Where a thread's history ends, with its names. `None`: no such thread.
///
/// # Errors
/// As any statement.
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

/// Where the histories of these threads end; those that aren't there are left out. One statement.
///
/// # Errors
/// As any statement.
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

/// Some of a team's messages, new and changed.
#[derive(Debug)]
pub struct FeedPiece {
    /// In the order of their places. Where a thread has several, their order in the thread may be another.
    pub messages: Vec<(FeedPlace, ThreadRef, Message)>,
    /// What is visible now.
    pub now: Snapshot,
}

/// The next of a team's messages in a window, at most `limit`. One statement, so that messages and snapshot are of
/// one moment.
///
/// # Errors
/// As any statement.
pub async fn feed(tx: &TeamTx, window: &FeedWindow, limit: i64) -> Result<FeedPiece> {
    // Two ranges of one index: of transactions that had not begun, and of those that were open.
    let query = sqlx::query(concat!(
        "SELECT now.snapshot, m.transaction_id AS m_transaction_id, m.thread_id,
            t.id AS t_id, t.object_type AS t_object_type, t.object_id AS t_object_id, t.object_label AS t_object_label,
            m.seq, m.kind, m.event_id, m.author_kind, m.author_id, ",
        message_names!(),
        ", m.body,
            m.created_at AS m_created_at, m.edited_at, m.deleted_at, ",
        event_columns!("e."),
        " FROM (SELECT pg_current_snapshot()::text AS snapshot,
             -- No program writes a row with the number of a transaction that has not begun; it would be new for ever.
             least($4, pg_snapshot_xmax(pg_current_snapshot())::text::bigint) AS until) now
         LEFT JOIN LATERAL (
             (SELECT transaction_id, thread_id, seq, kind, event_id, author_kind, author_id, author_name, on_behalf_of,
                  on_behalf_of_name, body, created_at, edited_at, deleted_at
              FROM thread_messages
              WHERE team_id = $1 AND transaction_id >= $2 AND transaction_id < now.until AND transaction_id <> ALL ($5)
                  AND (transaction_id, thread_id, seq) > ($6, $7, $8)
              ORDER BY transaction_id, thread_id, seq LIMIT $9)
             UNION ALL
             (SELECT transaction_id, thread_id, seq, kind, event_id, author_kind, author_id, author_name, on_behalf_of,
                  on_behalf_of_name, body, created_at, edited_at, deleted_at
              FROM thread_messages
              WHERE team_id = $1 AND transaction_id = ANY ($3) AND transaction_id < now.until AND transaction_id <> ALL ($5)
                  AND (transaction_id, thread_id, seq) > ($6, $7, $8)
              ORDER BY transaction_id, thread_id, seq LIMIT $9)
             ORDER BY transaction_id, thread_id, seq LIMIT $9
         ) m ON true
         LEFT JOIN threads t ON t.team_id = $1 AND t.id = m.thread_id
         LEFT JOIN LATERAL (
             SELECT id, team_id, event_type, event_name, object_type, object_id, object_label, threadable, scope_type,
                 scope_id, actor_kind, actor_id, actor_name, on_behalf_of, on_behalf_of_name, via, reason,
                 daybook_short_json(event_data) AS event_data,
                 schema_version, correlation_id, causation_id, request_id, transaction_id, created_at
             FROM events WHERE team_id = $1 AND id = m.event_id OFFSET 0
         ) e ON true
         ORDER BY m.transaction_id, m.thread_id, m.seq",
    ));
    let rows = tx.fetch_all(window.bind(query, tx.team_id(), limit)).await?;
    let first = rows
        .first()
        .ok_or_else(|| Error::internal("a snapshot is always there"))?;
    let words = Sentences::default();
    let sentences = tx.extension::<Sentences>().unwrap_or(&words);
    let mut piece = FeedPiece {
        messages: Vec::with_capacity(rows.len()),
        now: first.try_get::<&str, _>("snapshot")?.parse().map_err(Error::internal)?,
    };
    for row in &rows {
        let Some(message) = message(sentences, row)? else {
            continue;
        };
        let place = FeedPlace {
            transaction_id: row.try_get("m_transaction_id")?,
            id: row.try_get("thread_id")?,
            seq: message.seq,
        };
        piece.messages.push((place, thread_ref(row)?, message));
    }
    Ok(piece)
}
