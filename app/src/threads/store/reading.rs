//! Reading threads and their messages.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::events::{ObjectRef, Sentences, event_from_row};
use crate::tenancy::{Person, TeamTx};
use crate::threads::message::{Author, Content, Message, MessagePage, ToldEvent, comment_version};

/// A thread, and how the reader stands to it.
#[derive(Debug)]
pub(in crate::threads) struct ThreadRow {
    pub(in crate::threads) id: Uuid,
    pub(in crate::threads) object: ObjectRef,
    pub(in crate::threads) object_label: String,
    pub(in crate::threads) scope: Option<ObjectRef>,
    pub(in crate::threads) last_seq: i64,
    pub(in crate::threads) created_at: DateTime<Utc>,
    pub(in crate::threads) updated_at: DateTime<Utc>,
    pub(in crate::threads) following: bool,
    pub(in crate::threads) muted: bool,
    pub(in crate::threads) read_seq: i64,
}

/// A thread by its id, as `reader` stands to it.
///
/// # Errors
/// As any statement.
pub(in crate::threads) async fn get_thread(tx: &TeamTx, reader: Option<Uuid>, id: Uuid) -> Result<Option<ThreadRow>> {
    let query = sqlx::query(
        "SELECT t.id, t.object_type, t.object_id, t.object_label, t.scope_type, t.scope_id, t.last_seq,
            t.created_at, t.updated_at, f.following, f.muted, f.read_seq
         FROM threads t
         LEFT JOIN thread_followers f ON f.team_id = $1 AND f.thread_id = t.id AND f.user_id = $2
         WHERE t.team_id = $1 AND t.id = $3",
    );
    tx.fetch_optional(query.bind(tx.team_id()).bind(reader).bind(id))
        .await?
        .as_ref()
        .map(thread_row)
        .transpose()
}

/// The thread of an object.
///
/// # Errors
/// As any statement.
pub(in crate::threads) async fn find_thread(
    tx: &TeamTx,
    reader: Option<Uuid>,
    object_type: &str,
    object_id: &str,
) -> Result<Option<ThreadRow>> {
    let query = sqlx::query(
        "SELECT t.id, t.object_type, t.object_id, t.object_label, t.scope_type, t.scope_id, t.last_seq,
            t.created_at, t.updated_at, f.following, f.muted, f.read_seq
         FROM threads t
         LEFT JOIN thread_followers f ON f.team_id = $1 AND f.thread_id = t.id AND f.user_id = $2
         WHERE t.team_id = $1 AND t.object_type = $3 AND t.object_id = $4",
    )
    .bind(tx.team_id())
    .bind(reader)
    .bind(object_type)
    .bind(object_id);
    tx.fetch_optional(query).await?.as_ref().map(thread_row).transpose()
}

/// Threads, newest first: by when they were made, which never changes, so that pages neither repeat nor hide
/// one. One more than `limit` if there are more.
///
/// # Errors
/// As any statement.
pub(in crate::threads) async fn list_threads(
    tx: &TeamTx,
    reader: Option<Uuid>,
    object_type: Option<&str>,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<ThreadRow>> {
    let query = sqlx::query(
        "SELECT t.id, t.object_type, t.object_id, t.object_label, t.scope_type, t.scope_id, t.last_seq,
            t.created_at, t.updated_at, f.following, f.muted, f.read_seq
         FROM threads t
         LEFT JOIN thread_followers f ON f.team_id = $1 AND f.thread_id = t.id AND f.user_id = $2
         WHERE t.team_id = $1 AND ($3 IS NULL OR t.object_type = $3)
             AND t.id < $4
         ORDER BY t.id DESC LIMIT $5",
    )
    .bind(tx.team_id())
    .bind(reader)
    .bind(object_type)
    // Not `coalesce` in the statement: PostgreSQL takes it for leaky, and would walk the index from its top.
    .bind(after.unwrap_or(Uuid::max()))
    .bind(i64::try_from(limit + 1).map_err(Error::internal)?);
    tx.fetch_all(query).await?.iter().map(thread_row).collect()
}

fn thread_row(row: &PgRow) -> Result<ThreadRow> {
    let scope = match (row.try_get("scope_type")?, row.try_get("scope_id")?) {
        (Some(object_type), Some(id)) => Some(ObjectRef { object_type, id }),
        _ => None,
    };
    Ok(ThreadRow {
        id: row.try_get("id")?,
        object: ObjectRef {
            object_type: row.try_get("object_type")?,
            id: row.try_get("object_id")?,
        },
        object_label: row.try_get("object_label")?,
        scope,
        last_seq: row.try_get("last_seq")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        // Without a row of their own the reader neither follows nor has muted the thread.
        following: row.try_get::<Option<_>, _>("following")?.unwrap_or_default(),
        muted: row.try_get::<Option<_>, _>("muted")?.unwrap_or_default(),
        read_seq: row.try_get::<Option<_>, _>("read_seq")?.unwrap_or_default(),
    })
}

/// Which messages of a thread, by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// From the oldest on: those above `after`, below `before`.
    Forward {
        /// Not this one nor older ones; 0 for all.
        after: i64,
        /// Not this one nor newer ones; [`i64::MAX`] for all.
        before: i64,
        /// How many at most, at least 1.
        limit: i64,
    },
    /// From the newest back: those below `before`, above `after`.
    Backward {
        /// Not this one nor older ones; 0 for all.
        after: i64,
        /// Not this one nor newer ones; [`i64::MAX`] for all.
        before: i64,
        /// How many at most, at least 1.
        limit: i64,
    },
}

/// A page of a thread, events in words. `None`: no such thread.
///
/// Places have no gaps, so the page is a range of them, and one condition does for both directions: the last
/// one cuts nothing off going forward, where the range is no longer than the limit already. It asks for
/// `last_seq` in a query of its own: subtracting from `t.last_seq` might leak the row's value in an error, so
/// under row-level security it would be a filter behind the index and not a bound of it.
///
/// `OFFSET 0` keeps events looked up one by one, each in the one partition that can hold its id. The planner
/// doesn't count on that pruning, and would rather read all the partitions and hash them.
///
/// # Errors
/// As any statement.
pub(in crate::threads) async fn read_messages(
    tx: &TeamTx,
    thread_id: Uuid,
    window: Window,
) -> Result<Option<MessagePage>> {
    let (after, before, limit, backward) = match window {
        Window::Forward { after, before, limit } => (after.max(0), before, limit, false),
        Window::Backward { after, before, limit } => (after.max(0), before, limit, true),
    };
    let below = before.saturating_sub(1);
    let up_to = if backward {
        below
    } else {
        below.min(after.saturating_add(limit))
    };
    let query = sqlx::query(
        "SELECT t.last_seq, m.seq, m.kind, m.event_id, m.author_kind, m.author_id, m.author_name,
            m.on_behalf_of AS m_on_behalf_of, m.on_behalf_of_name AS m_on_behalf_of_name, m.body,
            m.created_at AS m_created_at, m.edited_at, m.deleted_at,
            e.*
         FROM threads t
         LEFT JOIN thread_messages m ON m.team_id = $1 AND m.thread_id = $2
             AND m.seq > $3 AND m.seq <= $4
             AND m.seq > least($4, (SELECT last_seq FROM threads WHERE team_id = $1 AND id = $2)) - $5
         LEFT JOIN LATERAL (
             SELECT id, team_id, event_type, event_name, object_type, object_id, object_label, threadable, scope_type,
                 scope_id, actor_kind, actor_id, actor_name, on_behalf_of, on_behalf_of_name, via, reason, event_data,
                 schema_version, correlation_id, causation_id, request_id, transaction_id, created_at
             FROM events WHERE team_id = $1 AND id = m.event_id OFFSET 0
         ) e ON true
         WHERE t.team_id = $1 AND t.id = $2
         ORDER BY m.seq",
    )
    .bind(tx.team_id())
    .bind(thread_id)
    .bind(after)
    .bind(up_to)
    .bind(limit);
    let rows = tx.fetch_all(query).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let last_seq: i64 = first.try_get("last_seq")?;
    let words = Sentences::default();
    let sentences = tx.extension::<Sentences>().unwrap_or(&words);
    let mut items = rows
        .iter()
        .filter_map(|row| message(sentences, row).transpose())
        .collect::<Result<Vec<_>>>()?;
    if backward {
        items.reverse();
    }
    let more = items.last().is_some_and(|message| {
        if backward {
            message.seq > after + 1
        } else {
            message.seq < below.min(last_seq)
        }
    });
    Ok(Some(MessagePage { items, last_seq, more }))
}

/// `None` for the row of a thread with no message in the window.
pub(super) fn message(sentences: &Sentences, row: &PgRow) -> Result<Option<Message>> {
    let Some(seq) = row.try_get("seq")? else {
        return Ok(None);
    };
    let content = match row.try_get("kind")? {
        "system" => {
            let event = row
                .try_get::<Option<Uuid>, _>("id")?
                .map(|_| event_from_row(row))
                .transpose()?;
            Content::System {
                event_id: row.try_get("event_id")?,
                event: event.map(|event| Box::new(ToldEvent::new(sentences, event))),
            }
        }
        "comment" => {
            let (edited_at, deleted_at) = (row.try_get("edited_at")?, row.try_get("deleted_at")?);
            Content::Comment {
                author: Author {
                    kind: row.try_get("author_kind")?,
                    id: row.try_get("author_id")?,
                    name: row.try_get("author_name")?,
                },
                on_behalf_of: match (row.try_get("m_on_behalf_of")?, row.try_get("m_on_behalf_of_name")?) {
                    (Some(id), Some(name)) => Some(Author::from(&Person { id, name })),
                    _ => None,
                },
                body: row.try_get("body")?,
                edited_at,
                deleted_at,
                etag: comment_version(seq, edited_at, deleted_at).to_string(),
            }
        }
        other => return Err(Error::internal(format!("a message is of kind {other:?}"))),
    };
    Ok(Some(Message {
        seq,
        created_at: row.try_get("m_created_at")?,
        content,
    }))
}
