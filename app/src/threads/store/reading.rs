//! Reads threads and their messages.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::events::{Event, EventsParts, ObjectRef, Sentences, event_columns, event_from_row, join_event};
use crate::http::{ByteBudget, MAX_PAGE_BYTES};
use crate::tenancy::{Person, TeamTx};
use crate::threads::grouping::MessageWithEvent;
use crate::threads::message::{Author, Content, Message, RenderedEvent, comment_version};

/// A thread, with the reader's settings and read mark.
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

/// Returns a thread by its id, with the settings of `reader`.
///
/// # Errors
/// Those of any database statement.
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

/// Returns the thread of an object, with the settings of `reader`.
///
/// # Errors
/// Those of any database statement.
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

/// Returns threads, newest first. They are ordered by creation time, which never changes, so that pages neither repeat
/// nor skip a thread. Returns `limit + 1` rows if there are more than `limit`.
///
/// # Errors
/// Those of any database statement.
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
    // `coalesce` in the statement is not leakproof, so PostgreSQL would scan the index from its start.
    .bind(after.unwrap_or(Uuid::max()))
    .bind(i64::try_from(limit + 1).map_err(Error::internal)?);
    tx.fetch_all(query).await?.iter().map(thread_row).collect()
}

/// Like [`list_threads`], but only threads that the person follows, has not muted and has not read to the end.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn list_new_threads(
    tx: &TeamTx,
    reader: Uuid,
    object_type: Option<&str>,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<ThreadRow>> {
    // The statement begins with the threads that the person follows, which are fewer than all threads.
    let query = sqlx::query(
        "SELECT t.id, t.object_type, t.object_id, t.object_label, t.scope_type, t.scope_id, t.last_seq,
            t.created_at, t.updated_at, f.following, f.muted, f.read_seq
         FROM thread_followers f JOIN threads t ON t.team_id = $1 AND t.id = f.thread_id
         WHERE f.team_id = $1 AND f.user_id = $2 AND f.following AND NOT f.muted AND t.last_seq > f.read_seq
             AND ($3 IS NULL OR t.object_type = $3) AND f.thread_id < $4
         ORDER BY f.thread_id DESC LIMIT $5",
    )
    .bind(tx.team_id())
    .bind(reader)
    .bind(object_type)
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
        // A reader without a row does not follow the thread and has not muted it.
        following: row.try_get::<Option<_>, _>("following")?.unwrap_or_default(),
        muted: row.try_get::<Option<_>, _>("muted")?.unwrap_or_default(),
        read_seq: row.try_get::<Option<_>, _>("read_seq")?.unwrap_or_default(),
    })
}

/// A range of a thread's messages, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// Messages above `after` and below `before`, oldest first.
    Forward {
        /// Only messages after this one; 0 for all.
        after: i64,
        /// Only messages before this one; [`i64::MAX`] for all.
        before: i64,
        /// The maximum number of messages, at least 1.
        limit: i64,
    },
    /// Messages above `after` and below `before`, newest first.
    Backward {
        /// Only messages after this one; 0 for all.
        after: i64,
        /// Only messages before this one; [`i64::MAX`] for all.
        before: i64,
        /// The maximum number of messages, at least 1.
        limit: i64,
    },
}

/// The parameters of a page.
#[derive(Debug, Clone, Copy)]
pub(in crate::threads) struct PageRequest {
    /// The range of messages.
    pub(in crate::threads) window: Window,
    /// If set, the page begins at the first message that was posted then or later.
    pub(in crate::threads) since: Option<DateTime<Utc>>,
    /// The person whose read mark is returned.
    pub(in crate::threads) reader: Option<Uuid>,
    /// Whether to read one more message on each side, if there is one.
    pub(in crate::threads) neighbours: bool,
}

/// A page of a thread.
#[derive(Debug)]
pub(in crate::threads) struct PageRows {
    /// The messages, oldest first, with the requested neighbours.
    pub(in crate::threads) messages: Vec<MessageWithEvent>,
    /// The lower end of the page: its messages are above this position.
    pub(in crate::threads) low: i64,
    /// The upper end of the page: its messages are at most at this position.
    pub(in crate::threads) high: i64,
    /// Whether the window has more messages in the direction of reading.
    pub(in crate::threads) more: bool,
    /// The position of the thread's newest message.
    pub(in crate::threads) last_seq: i64,
    /// The reader's read mark.
    pub(in crate::threads) read_seq: i64,
}

/// Reads a page of a thread, with rendered events. Returns `None` if there is no such thread.
///
/// Positions have no gaps, so the page is a range. The statement first finds its ends: from the window, the number of
/// messages, and the position for `since`. Messages are posted in the order of their times, so that position is found
/// by binary search, which for a million messages needs twenty look-ups by key, and no index on the time.
///
/// The ends are sub-selects and not joined columns, and sums are computed before they are compared with `seq`. Under
/// row-level security, an expression that might reveal a row's value in an error can't be a bound of the index scan:
/// PostgreSQL evaluates it as a filter after the scan.
///
/// `OFFSET 0` makes PostgreSQL look up events one by one, each in the one partition that can have its id. The planner
/// does not take this pruning into account. Without `OFFSET 0` it would read all partitions and hash them.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn read_page(
    tx: &TeamTx,
    thread_id: Uuid,
    request: PageRequest,
) -> Result<Option<PageRows>> {
    let (Window::Forward { after, before, limit } | Window::Backward { after, before, limit }) = request.window;
    let query = sqlx::query(concat!(
        "WITH RECURSIVE halving (low, high, middle) AS (
            SELECT 1::bigint, last_seq + 1, (last_seq + 2) / 2 FROM threads
            WHERE team_id = $1 AND id = $2 AND $3::timestamptz IS NOT NULL
            UNION ALL
            SELECT half.low, half.high, (half.low + half.high) / 2 FROM (
                SELECT CASE WHEN m.created_at < $3 THEN m.seq + 1 ELSE h.low END AS low,
                    CASE WHEN m.created_at < $3 THEN h.high ELSE m.seq END AS high
                FROM halving h
                JOIN thread_messages m ON m.team_id = $1 AND m.thread_id = $2 AND m.seq = h.middle
                WHERE h.low < h.high
            ) half
        ), thread AS (
            SELECT last_seq, least($5, last_seq) AS top,
                least(greatest($4, (SELECT max(low) - 1 FROM halving)), last_seq) AS bottom
            FROM threads WHERE team_id = $1 AND id = $2
        ), page AS (
            SELECT last_seq, top, bottom,
                CASE WHEN $7 THEN greatest(bottom, top - $6) ELSE bottom END AS low,
                CASE WHEN $7 THEN top ELSE least(top, bottom + $6) END AS high
            FROM thread
        )
        SELECT page.last_seq, page.low, page.high,
            CASE WHEN $7 THEN page.low > page.bottom ELSE page.high < page.top END AS more, f.read_seq,
            m.seq, m.kind, m.event_id, m.author_kind, m.author_id, ",
        message_names!(),
        ", m.body,
            m.created_at AS m_created_at, m.edited_at, m.deleted_at, ",
        event_columns!("e."),
        " FROM page
         LEFT JOIN thread_followers f ON f.team_id = $1 AND f.thread_id = $2 AND f.user_id = $8
         LEFT JOIN thread_messages m ON m.team_id = $1 AND m.thread_id = $2
             AND m.seq > (SELECT low - $9 FROM page) AND m.seq <= (SELECT high + $9 FROM page)
         ",
        join_event!("m.event_id"),
        " ORDER BY m.seq",
    ))
    .bind(tx.team_id())
    .bind(thread_id)
    .bind(request.since)
    .bind(after.max(0))
    .bind(before.saturating_sub(1))
    .bind(limit)
    .bind(matches!(request.window, Window::Backward { .. }))
    .bind(request.reader)
    .bind(i64::from(request.neighbours));
    let rows = tx.fetch_all(query).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let sentences = &EventsParts::of_tx(tx)?.sentences;
    let page = PageRows {
        low: first.try_get("low")?,
        high: first.try_get("high")?,
        more: first.try_get("more")?,
        last_seq: first.try_get("last_seq")?,
        read_seq: first.try_get::<Option<_>, _>("read_seq")?.unwrap_or_default(),
        messages: rows
            .iter()
            .filter_map(|row| message_with_event(sentences, row).transpose())
            .collect::<Result<_>>()?,
    };
    within_bytes(page, request).map(Some)
}

/// Cuts a page at [`MAX_PAGE_BYTES`]. At least one message stays.
fn within_bytes(mut page: PageRows, request: PageRequest) -> Result<PageRows> {
    let backward = matches!(request.window, Window::Backward { .. });
    let mut budget = ByteBudget::new(MAX_PAGE_BYTES);
    let mut indices: Vec<usize> = (0..page.messages.len()).collect();
    if backward {
        indices.reverse();
    }
    let mut last = None;
    for index in indices {
        let (message, _) = &page.messages[index];
        if message.seq <= page.low || message.seq > page.high {
            continue;
        }
        if !budget.takes(message)? {
            page.more = true;
            match backward {
                true => page.low = last.unwrap_or(page.low + 1) - 1,
                false => page.high = last.unwrap_or(page.high),
            }
            break;
        }
        last = Some(message.seq);
    }
    let neighbours = i64::from(request.neighbours);
    let (low, high) = (page.low - neighbours, page.high + neighbours);
    page.messages
        .retain(|(message, _)| message.seq > low && message.seq <= high);
    Ok(page)
}

/// Returns one message, without cutting long values of its event. Returns `None` if there is no such message.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn get_message(tx: &TeamTx, thread_id: Uuid, seq: i64) -> Result<Option<Message>> {
    let query = sqlx::query(concat!(
        "SELECT m.seq, m.kind, m.event_id, m.author_kind, m.author_id, ",
        message_names!(),
        ", m.body,
            m.created_at AS m_created_at, m.edited_at, m.deleted_at,
            ",
        event_columns!("e."),
        " FROM thread_messages m
         ",
        join_event!("m.event_id", whole),
        " WHERE m.team_id = $1 AND m.thread_id = $2 AND m.seq = $3"
    ));
    let row = tx
        .fetch_optional(query.bind(tx.team_id()).bind(thread_id).bind(seq))
        .await?;
    let sentences = &EventsParts::of_tx(tx)?.sentences;
    match row {
        Some(row) => message(sentences, &row),
        None => Ok(None),
    }
}

/// Reads the message in a row. Returns `None` for the row of a thread without a message in the window.
pub(super) fn message(sentences: &Sentences, row: &PgRow) -> Result<Option<Message>> {
    Ok(message_with_event(sentences, row)?.map(|(message, _)| message))
}

/// Reads the message in a row, with its event if it has one.
fn message_with_event(sentences: &Sentences, row: &PgRow) -> Result<Option<MessageWithEvent>> {
    let Some(seq) = row.try_get("seq")? else {
        return Ok(None);
    };
    let event: Option<Event> = row
        .try_get::<Option<Uuid>, _>("id")?
        .map(|_| event_from_row(row))
        .transpose()?;
    let content = match row.try_get("kind")? {
        "system" => Content::System {
            event_id: row.try_get("event_id")?,
            event: event
                .as_ref()
                .map(|event| Box::new(RenderedEvent::new(sentences, event))),
        },
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
        other => return Err(Error::internal(format!("a message has the unknown kind {other:?}"))),
    };
    let message = Message {
        seq,
        created_at: row.try_get("m_created_at")?,
        content,
    };
    Ok(Some((message, event)))
}
