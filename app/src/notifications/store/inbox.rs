//! Reads a person's inbox, and marks notifications as read or unread.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::events::{Event, event_columns, event_from_row, join_event, shown_name};
use crate::notifications::notifications_signal;
use crate::tenancy::timestamps::TimestampKey;
use crate::tenancy::{Snapshot, TeamTx};

/// A row of an inbox, with its thread and the newest message.
#[derive(Debug)]
pub(in crate::notifications) struct InboxRow {
    pub(in crate::notifications) id: Uuid,
    pub(in crate::notifications) reason: String,
    pub(in crate::notifications) seq: i64,
    pub(in crate::notifications) unread_count: i32,
    pub(in crate::notifications) version: i64,
    pub(in crate::notifications) read_at: Option<DateTime<Utc>>,
    pub(in crate::notifications) created_at: DateTime<Utc>,
    pub(in crate::notifications) updated_at: DateTime<Utc>,
    /// The row's position in the inbox: `updated_at` as it is stored.
    pub(in crate::notifications) place: TimestampKey,
    pub(in crate::notifications) thread_id: Uuid,
    pub(in crate::notifications) object_type: String,
    pub(in crate::notifications) object_id: String,
    pub(in crate::notifications) object_label: String,
    /// A comment's author: kind, id, name.
    pub(in crate::notifications) author: Option<(String, Option<Uuid>, String)>,
    /// Whether the newest message is a deleted comment.
    pub(in crate::notifications) deleted: bool,
    /// The event, if the newest message is an event that still exists.
    pub(in crate::notifications) event: Option<Event>,
    pub(in crate::notifications) why: WhyRow,
}

/// The stored reason for a notification. All fields are `None` in a row that is older than these columns.
#[derive(Debug)]
pub(in crate::notifications) struct WhyRow {
    pub(in crate::notifications) seq: Option<i64>,
    pub(in crate::notifications) event_id: Option<Uuid>,
    pub(in crate::notifications) event_type: Option<String>,
    /// Why the person followed the thread, if they were notified as a follower.
    pub(in crate::notifications) followed: Option<String>,
    /// The preference that allowed it: its event type and its object type.
    pub(in crate::notifications) rule: Option<(String, String)>,
}

/// A page of a person's inbox.
#[derive(Debug)]
pub(in crate::notifications) struct InboxRows {
    /// Newest first. `limit + 1` rows if another page follows.
    pub(in crate::notifications) rows: Vec<InboxRow>,
    /// The number of all unread notifications of the person.
    pub(in crate::notifications) unread: i64,
    /// The snapshot of the statement.
    pub(in crate::notifications) seen: Snapshot,
}

/// Reads a page of a person's inbox, newest first, and counts all their unread notifications. Returns `limit + 1` rows
/// if another page follows. Events are looked up one by one (`OFFSET 0`), each in the one partition that can have its
/// id.
///
/// # Errors
/// Those of any database statement.
pub(in crate::notifications) async fn inbox(
    tx: &TeamTx,
    user_id: Uuid,
    unread: bool,
    after: Option<(TimestampKey, Uuid)>,
    limit: u64,
) -> Result<InboxRows> {
    // `coalesce` in the statement is not leakproof, so PostgreSQL would scan the index from its start.
    let (before_at, before_id) = after.unwrap_or((TimestampKey::LAST, Uuid::max()));
    let query = sqlx::query(concat!(
        "WITH page AS (
            SELECT id, reason, event_id, seq, unread_count, version, read_at, created_at, updated_at, thread_id, why_seq,
                why_event_id, why_event_type, why_followed, why_rule_event_type, why_rule_object_type
            FROM notifications
            WHERE team_id = $1 AND user_id = $2 AND (NOT $3 OR read_at IS NULL)
                AND (updated_at, id) < ($4, $5)
            ORDER BY updated_at DESC, id DESC LIMIT $6
        )
        SELECT total.unread, total.seen, n.id AS n_id, n.reason AS n_reason, n.seq, n.unread_count, n.version, n.read_at,
            n.created_at AS n_created_at, n.updated_at AS n_updated_at, timestamptz_send(n.updated_at) AS n_place,
            n.why_seq, n.why_event_id, n.why_event_type, n.why_followed, n.why_rule_event_type, n.why_rule_object_type,
            t.id AS thread_id, t.object_type AS t_object_type, t.object_id AS t_object_id,
            t.object_label AS t_object_label, m.author_kind, m.author_id, ",
        shown_name!("m.author_id", "m.author_name"),
        " AS author_name,
            m.deleted_at IS NOT NULL AS m_deleted, ",
        event_columns!("e."),
        " FROM (SELECT count(*) AS unread, pg_current_snapshot()::text AS seen FROM notifications
              WHERE team_id = $1 AND user_id = $2 AND read_at IS NULL) total
        LEFT JOIN page n ON true
        LEFT JOIN threads t ON t.team_id = $1 AND t.id = n.thread_id
        LEFT JOIN thread_messages m ON m.team_id = $1 AND m.thread_id = n.thread_id AND m.seq = n.seq
        ",
        join_event!("n.event_id"),
        " ORDER BY n.updated_at DESC, n.id DESC",
    ))
    .bind(tx.team_id())
    .bind(user_id)
    .bind(unread)
    .bind(before_at)
    .bind(before_id)
    .bind(i64::try_from(limit + 1).map_err(Error::internal)?);
    let rows = tx.fetch_all(query).await?;
    let total = rows
        .first()
        .ok_or_else(|| Error::internal("the count of unread notifications returned no row"))?;
    Ok(InboxRows {
        unread: total.try_get("unread")?,
        seen: total.try_get::<&str, _>("seen")?.parse().map_err(Error::internal)?,
        rows: rows
            .iter()
            .map(inbox_row)
            .filter_map(Result::transpose)
            .collect::<Result<_>>()?,
    })
}

/// Reads a row of the inbox. Returns `None` for the row that has only the total.
fn inbox_row(row: &PgRow) -> Result<Option<InboxRow>> {
    let Some(id) = row.try_get("n_id")? else {
        return Ok(None);
    };
    let author = match row.try_get("author_kind")? {
        Some(kind) => Some((kind, row.try_get("author_id")?, row.try_get("author_name")?)),
        None => None,
    };
    let event = row
        .try_get::<Option<Uuid>, _>("id")?
        .map(|_| event_from_row(row))
        .transpose()?;
    Ok(Some(InboxRow {
        id,
        reason: row.try_get("n_reason")?,
        seq: row.try_get("seq")?,
        unread_count: row.try_get("unread_count")?,
        version: row.try_get("version")?,
        read_at: row.try_get("read_at")?,
        created_at: row.try_get("n_created_at")?,
        updated_at: row.try_get("n_updated_at")?,
        place: TimestampKey::from_sent(row.try_get("n_place")?).map_err(Error::internal)?,
        thread_id: row.try_get("thread_id")?,
        object_type: row.try_get("t_object_type")?,
        object_id: row.try_get("t_object_id")?,
        object_label: row.try_get("t_object_label")?,
        author,
        deleted: row.try_get("m_deleted")?,
        event,
        why: WhyRow {
            seq: row.try_get("why_seq")?,
            event_id: row.try_get("why_event_id")?,
            event_type: row.try_get("why_event_type")?,
            followed: row.try_get("why_followed")?,
            rule: match (
                row.try_get("why_rule_event_type")?,
                row.try_get("why_rule_object_type")?,
            ) {
                (Some(event_type), Some(object_type)) => Some((event_type, object_type)),
                _ => None,
            },
        },
    }))
}

/// The read state of a notification.
#[derive(Debug)]
pub(in crate::notifications) struct ReadRow {
    pub(in crate::notifications) read_at: Option<DateTime<Utc>>,
    pub(in crate::notifications) unread_count: i32,
    pub(in crate::notifications) version: i64,
}

/// Marks one of the person's notifications as read, and moves the read mark of its thread. A notification that is
/// already read, or has a higher version than `seen`, does not change. Returns `None` if the person has no such
/// notification.
///
/// # Errors
/// Those of any database statement.
pub(in crate::notifications) async fn mark_read(
    tx: &TeamTx,
    user_id: Uuid,
    id: Uuid,
    seen: Option<i64>,
) -> Result<Option<ReadRow>> {
    let query = sqlx::query(
        "WITH marked AS (
            UPDATE notifications SET
                -- SQL can have written `infinity`, which can't be returned.
                read_at = CASE WHEN isfinite(read_at) THEN read_at ELSE now() END,
                unread_count = 0,
                unread_seqs = '{}',
                version = version + (read_at IS NULL)::int,
                transaction_id = pg_current_xact_id()::text::bigint
            WHERE team_id = $1 AND user_id = $2 AND id = $3 AND ($4::bigint IS NULL OR version <= $4)
            RETURNING thread_id, seq, read_at, unread_count, version
        ), seen AS (
            -- A person who doesn't follow the thread has a read mark, too, and does not become a follower.
            INSERT INTO thread_followers AS f (team_id, thread_id, user_id, following, reason, read_seq)
            SELECT $1, thread_id, $2, false, 'reader', seq FROM marked ORDER BY thread_id
            ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET read_seq = excluded.read_seq
                WHERE f.read_seq < excluded.read_seq
        )
        SELECT read_at, unread_count, version FROM marked
        UNION ALL
        SELECT read_at, unread_count, version FROM notifications
        WHERE team_id = $1 AND user_id = $2 AND id = $3 AND NOT EXISTS (SELECT FROM marked)",
    );
    tx.signal(notifications_signal(user_id));
    read_row(tx, query.bind(tx.team_id()).bind(user_id).bind(id).bind(seen)).await
}

/// Marks one of the person's notifications as unread. A notification that is already unread does not change. Returns
/// `None` if the person has no such notification.
///
/// # Errors
/// Those of any database statement.
pub(in crate::notifications) async fn mark_unread(tx: &TeamTx, user_id: Uuid, id: Uuid) -> Result<Option<ReadRow>> {
    let query = sqlx::query(
        "UPDATE notifications SET
            read_at = NULL,
            unread_count = greatest(unread_count, 1),
            -- A notification that was read counts only its newest message.
            unread_seqs = CASE WHEN read_at IS NULL THEN unread_seqs ELSE ARRAY[seq] END,
            version = version + (read_at IS NOT NULL)::int,
            transaction_id = pg_current_xact_id()::text::bigint
         WHERE team_id = $1 AND user_id = $2 AND id = $3
         RETURNING read_at, unread_count, version",
    );
    tx.signal(notifications_signal(user_id));
    read_row(tx, query.bind(tx.team_id()).bind(user_id).bind(id)).await
}

async fn read_row(tx: &TeamTx, query: Query<'_, Postgres, PgArguments>) -> Result<Option<ReadRow>> {
    let Some(row) = tx.fetch_optional(query).await? else {
        return Ok(None);
    };
    Ok(Some(ReadRow {
        read_at: row.try_get("read_at")?,
        unread_count: row.try_get("unread_count")?,
        version: row.try_get("version")?,
    }))
}

/// Marks the person's notifications as read, if they have not changed since `seen`, and returns how many were unread.
/// The rows are locked in the order in which other statements write them.
///
/// # Errors
/// Those of any database statement.
pub(in crate::notifications) async fn mark_all_read(tx: &TeamTx, user_id: Uuid, seen: &Snapshot) -> Result<i64> {
    let query = sqlx::query(
        "WITH mine AS MATERIALIZED (
            SELECT id FROM notifications
            WHERE team_id = $1 AND user_id = $2 AND read_at IS NULL
                -- A number that no transaction of this cluster has had yet comes from the cluster of a restored dump.
                AND (transaction_id < $3 AND transaction_id <> ALL ($4)
                    OR transaction_id >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
            ORDER BY thread_id FOR UPDATE
        ), marked AS (
            UPDATE notifications n SET read_at = now(), unread_count = 0, unread_seqs = '{}', version = n.version + 1,
                transaction_id = pg_current_xact_id()::text::bigint
            FROM mine WHERE n.team_id = $1 AND n.id = mine.id
            RETURNING n.thread_id, n.seq
        ), seen AS (
            -- A person who doesn't follow the thread has a read mark, too, and does not become a follower.
            INSERT INTO thread_followers AS f (team_id, thread_id, user_id, following, reason, read_seq)
            SELECT $1, thread_id, $2, false, 'reader', seq FROM marked ORDER BY thread_id
            ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET read_seq = excluded.read_seq
                WHERE f.read_seq < excluded.read_seq
        )
        SELECT count(*) AS marked FROM marked",
    )
    .bind(tx.team_id())
    .bind(user_id)
    .bind(seen.next())
    .bind(seen.open());
    tx.signal(notifications_signal(user_id));
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("the count of marked notifications returned no row"))?;
    Ok(row.try_get("marked")?)
}

/// Marks a person's notification of a thread as read up to a position. It becomes read if it counts no later message;
/// otherwise it counts at most the messages after the position. A notification that is already read does not change.
/// Sends one statement.
///
/// # Errors
/// Those of any database statement.
pub async fn read_up_to(tx: &TeamTx, user_id: Uuid, thread_id: Uuid, seq: i64) -> Result<()> {
    let query = sqlx::query(
        "UPDATE notifications n SET
            read_at = CASE WHEN seq <= $4 THEN now() END,
            unread_count = greatest(0, least(unread_count, seq - $4)),
            unread_seqs = ARRAY (SELECT u.seq FROM unnest(unread_seqs) AS u (seq) WHERE u.seq > $4),
            version = version + 1,
            transaction_id = pg_current_xact_id()::text::bigint
         WHERE team_id = $1 AND user_id = $2 AND thread_id = $3 AND read_at IS NULL AND unread_count > seq - $4",
    )
    .bind(tx.team_id())
    .bind(user_id)
    .bind(thread_id)
    .bind(seq);
    if tx.execute_sql(query).await? > 0 {
        tx.signal(notifications_signal(user_id));
    }
    Ok(())
}
