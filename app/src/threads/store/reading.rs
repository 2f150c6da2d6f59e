//! Reading threads and their messages.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::events::{Event, ObjectRef, Sentences, event_columns, event_from_row};
use crate::http::{ByteBudget, MAX_PAGE_BYTES};
use crate::tenancy::{Person, TeamTx};
use crate::threads::grouping::Told;
use crate::threads::message::{Author, Content, Message, ToldEvent, comment_version};

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

/// As [`list_threads`], of those that the person follows, hasn't muted and hasn't read to the end.
///
/// # Errors
/// As any statement.
pub(in crate::threads) async fn list_new_threads(
    tx: &TeamTx,
    reader: Uuid,
    object_type: Option<&str>,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<ThreadRow>> {
    // From what the person follows, which is less than what there is.
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

/// How a page is to be read.
#[derive(Debug, Clone, Copy)]
pub(in crate::threads) struct Reading {
    /// Which messages.
    pub(in crate::threads) window: Window,
    /// Of these, from the first one on that was posted then or later.
    pub(in crate::threads) since: Option<DateTime<Utc>>,
    /// Whose mark to read, too.
    pub(in crate::threads) reader: Option<Uuid>,
    /// Whether to read a message more on both sides, where there is one.
    pub(in crate::threads) neighbours: bool,
}

/// A page of a thread as it was read.
#[derive(Debug)]
pub(in crate::threads) struct PageRows {
    /// The oldest first, with the neighbours that were asked for.
    pub(in crate::threads) told: Vec<Told>,
    /// The page's messages are those above this place,
    pub(in crate::threads) low: i64,
    /// up to this one.
    pub(in crate::threads) high: i64,
    /// Whether the window goes on in the direction of reading.
    pub(in crate::threads) more: bool,
    /// The newest message's place.
    pub(in crate::threads) last_seq: i64,
    /// Up to where the reader has read.
    pub(in crate::threads) read_seq: i64,
}

/// A page of a thread, events in words. `None`: no such thread.
///
/// Places have no gaps, so the page is a range of them, whose ends are found first: from the window, from the number
/// of messages there are, and from the place of a moment. As messages are posted in the order of their moments, that
/// place is found by halving, which for a million messages is twenty look-ups of a key; no index keeps the moments.
///
/// The ends are sub-selects, not columns that are joined, and sums are made before they are compared with `seq`: what
/// might leak the row's value in an error would, under row-level security, be a filter behind the index and not a
/// bound of it.
///
/// `OFFSET 0` keeps events looked up one by one, each in the one partition that can hold its id. The planner
/// doesn't count on that pruning, and would rather read all the partitions and hash them.
///
/// # Errors
/// As any statement.
pub(in crate::threads) async fn read_page(tx: &TeamTx, thread_id: Uuid, reading: Reading) -> Result<Option<PageRows>> {
    let (Window::Forward { after, before, limit } | Window::Backward { after, before, limit }) = reading.window;
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
         LEFT JOIN LATERAL (
             SELECT id, team_id, event_type, event_name, object_type, object_id, object_label, threadable, scope_type,
                 scope_id, actor_kind, actor_id, actor_name, on_behalf_of, on_behalf_of_name, via, reason,
                 daybook_short_json(event_data) AS event_data,
                 schema_version, correlation_id, causation_id, request_id, transaction_id, created_at
             FROM events WHERE team_id = $1 AND id = m.event_id OFFSET 0
         ) e ON true
         ORDER BY m.seq",
    ))
    .bind(tx.team_id())
    .bind(thread_id)
    .bind(reading.since)
    .bind(after.max(0))
    .bind(before.saturating_sub(1))
    .bind(limit)
    .bind(matches!(reading.window, Window::Backward { .. }))
    .bind(reading.reader)
    .bind(i64::from(reading.neighbours));
    let rows = tx.fetch_all(query).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let words = Sentences::default();
    let sentences = tx.extension::<Sentences>().unwrap_or(&words);
    let page = PageRows {
        low: first.try_get("low")?,
        high: first.try_get("high")?,
        more: first.try_get("more")?,
        last_seq: first.try_get("last_seq")?,
        read_seq: first.try_get::<Option<_>, _>("read_seq")?.unwrap_or_default(),
        told: rows
            .iter()
            .filter_map(|row| told(sentences, row).transpose())
            .collect::<Result<_>>()?,
    };
    within_bytes(page, reading).map(Some)
}

/// The same page, ended where [`MAX_PAGE_BYTES`] are. One message is always there.
fn within_bytes(mut page: PageRows, reading: Reading) -> Result<PageRows> {
    let backward = matches!(reading.window, Window::Backward { .. });
    let mut room = ByteBudget::new(MAX_PAGE_BYTES);
    let mut places: Vec<usize> = (0..page.told.len()).collect();
    if backward {
        places.reverse();
    }
    let mut last = None;
    for place in places {
        let (message, _) = &page.told[place];
        if message.seq <= page.low || message.seq > page.high {
            continue;
        }
        if !room.takes(message)? {
            page.more = true;
            match backward {
                true => page.low = last.unwrap_or(page.low + 1) - 1,
                false => page.high = last.unwrap_or(page.high),
            }
            break;
        }
        last = Some(message.seq);
    }
    let beside = i64::from(reading.neighbours);
    let (low, high) = (page.low - beside, page.high + beside);
    page.told
        .retain(|(message, _)| message.seq > low && message.seq <= high);
    Ok(page)
}

/// One message with all of its event, however long. `None`: no such message.
///
/// # Errors
/// As any statement.
pub(in crate::threads) async fn get_message(tx: &TeamTx, thread_id: Uuid, seq: i64) -> Result<Option<Message>> {
    let query = sqlx::query(concat!(
        "SELECT m.seq, m.kind, m.event_id, m.author_kind, m.author_id, ",
        message_names!(),
        ", m.body,
            m.created_at AS m_created_at, m.edited_at, m.deleted_at,
            ",
        event_columns!("e."),
        " FROM thread_messages m
         LEFT JOIN LATERAL (
             SELECT id, team_id, event_type, event_name, object_type, object_id, object_label, threadable, scope_type,
                 scope_id, actor_kind, actor_id, actor_name, on_behalf_of, on_behalf_of_name, via, reason, event_data,
                 schema_version, correlation_id, causation_id, request_id, transaction_id, created_at
             FROM events WHERE team_id = $1 AND id = m.event_id OFFSET 0
         ) e ON true
         WHERE m.team_id = $1 AND m.thread_id = $2 AND m.seq = $3"
    ));
    let row = tx
        .fetch_optional(query.bind(tx.team_id()).bind(thread_id).bind(seq))
        .await?;
    let words = Sentences::default();
    let sentences = tx.extension::<Sentences>().unwrap_or(&words);
    match row {
        Some(row) => message(sentences, &row),
        None => Ok(None),
    }
}

/// `None` for the row of a thread with no message in the window.
pub(super) fn message(sentences: &Sentences, row: &PgRow) -> Result<Option<Message>> {
    Ok(told(sentences, row)?.map(|(message, _)| message))
}

/// A message, and the event that it tells of.
fn told(sentences: &Sentences, row: &PgRow) -> Result<Option<Told>> {
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
            event: event.as_ref().map(|event| Box::new(ToldEvent::new(sentences, event))),
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
        other => return Err(Error::internal(format!("a message is of kind {other:?}"))),
    };
    let message = Message {
        seq,
        created_at: row.try_get("m_created_at")?,
        content,
    };
    Ok(Some((message, event)))
}
