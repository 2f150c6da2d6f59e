//! The SQL of notifications.
//!
//! Recipients' memberships are locked (KEY SHARE, as the foreign key would) before their rows are written: a
//! member who is removed at this moment is left out, instead of failing somebody else's change.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::query::Query;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::events::{Event, event_from_row};
use crate::tenancy::{Moved, TeamTx};

/// What one call's events come to for one object.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Told {
    /// How many there are.
    pub(super) messages: i32,
    /// The newest one.
    pub(super) newest: Uuid,
    /// Whether one of them created the object.
    pub(super) created: bool,
}

/// The statement, over a source of objects (`o`): rows or arrays, for the reason that `threads` gives where it
/// posts.
macro_rules! deliver {
    ($objects:literal) => {
        concat!(
            "WITH told AS (
            SELECT t.id AS thread_id, t.last_seq AS seq, o.*
            FROM ",
            $objects,
            " AS o (object_type, object_id, messages, newest, created)
            JOIN threads t ON t.team_id = $1 AND t.object_type = o.object_type AND t.object_id = o.object_id
        ), creator AS (
            INSERT INTO thread_followers (team_id, thread_id, user_id, following, reason)
            SELECT $1, told.thread_id, m.user_id, true, 'creator'
            FROM told JOIN memberships m ON m.team_id = $1 AND m.user_id = $7
            WHERE told.created
            ORDER BY told.thread_id
            FOR KEY SHARE OF m
            ON CONFLICT DO NOTHING
        )
        INSERT INTO notifications AS n (team_id, id, user_id, thread_id, reason, event_id, seq, unread_count)
        SELECT $1, (left($9::text, 19) || right(gen_random_uuid()::text, 17))::uuid, m.user_id, r.thread_id, r.reason,
            r.newest, r.seq, r.messages
        FROM (
            SELECT f.user_id, 'follower' AS reason, told.*
            FROM told JOIN thread_followers f ON f.team_id = $1 AND f.thread_id = told.thread_id
            WHERE f.following AND NOT f.muted
            UNION ALL
            SELECT w.user_id, 'watcher', told.*
            FROM told JOIN watches w ON w.team_id = $1 AND w.object_type = told.object_type
            WHERE told.created AND NOT EXISTS (
                SELECT FROM thread_followers f WHERE f.team_id = $1 AND f.thread_id = told.thread_id
                    AND f.user_id = w.user_id AND (f.following OR f.muted))
        ) r JOIN memberships m ON m.team_id = $1 AND m.user_id = r.user_id
        WHERE m.user_id <> ALL ($8)
        ORDER BY m.user_id, r.thread_id
        FOR KEY SHARE OF m
        ON CONFLICT (team_id, user_id, thread_id) DO UPDATE SET
            -- A consumer between the two of ours may have caused newer events and told of them.
            event_id = CASE WHEN excluded.seq > n.seq THEN excluded.event_id ELSE n.event_id END,
            seq = greatest(n.seq, excluded.seq),
            unread_count = n.unread_count + excluded.unread_count,
            reason = CASE WHEN n.read_at IS NULL AND n.reason = 'mentioned' THEN n.reason ELSE excluded.reason END,
            version = n.version + 1,
            read_at = NULL,
            transaction_id = excluded.transaction_id,
            updated_at = greatest(n.updated_at, excluded.updated_at)
        RETURNING n.user_id"
        )
    };
}

/// Makes `creator` a follower of what was created, and tells followers and watchers, all but `doers`.
///
/// How many rows there will be is known in the database alone, so their ids are made there, from one UUIDv7 of
/// the app's: its time and version, and a random rest for each row.
///
/// # Errors
/// As any statement.
pub(super) async fn deliver_events(
    tx: &TeamTx,
    objects: &BTreeMap<(&str, &str), Told>,
    creator: Option<Uuid>,
    doers: &[Uuid],
) -> Result<()> {
    let (types, ids): (Vec<&str>, Vec<&str>) = objects.keys().copied().unzip();
    let query = match (objects.first_key_value(), objects.len()) {
        (Some((&(object_type, id), told)), 1) => {
            sqlx::query(deliver!("(VALUES ($2::text, $3::text, $4::int, $5::uuid, $6::bool))"))
                .bind(tx.team_id())
                .bind(object_type)
                .bind(id)
                .bind(told.messages)
                .bind(told.newest)
                .bind(told.created)
        }
        _ => sqlx::query(deliver!(
            "unnest($2::text[], $3::text[], $4::int[], $5::uuid[], $6::bool[])"
        ))
        .bind(tx.team_id())
        .bind(types)
        .bind(ids)
        .bind(objects.values().map(|told| told.messages).collect::<Vec<_>>())
        .bind(objects.values().map(|told| told.newest).collect::<Vec<_>>())
        .bind(objects.values().map(|told| told.created).collect::<Vec<_>>()),
    };
    told(tx, query.bind(creator).bind(doers).bind(Uuid::now_v7())).await
}

/// Tells of a comment whom it mentions and who follows, all but `doers`. Ids as in [`deliver_events`].
///
/// # Errors
/// As any statement.
pub(super) async fn deliver_comment(
    tx: &TeamTx,
    thread_id: Uuid,
    seq: i64,
    mentioned: &[Uuid],
    doers: &[Uuid],
) -> Result<()> {
    let query = sqlx::query(
        "INSERT INTO notifications AS n (team_id, id, user_id, thread_id, reason, seq, unread_count)
        SELECT $1, (left($6::text, 19) || right(gen_random_uuid()::text, 17))::uuid, m.user_id, $2, r.reason, $3, 1
        FROM (
            SELECT f.user_id, 'follower' AS reason FROM thread_followers f
            WHERE f.team_id = $1 AND f.thread_id = $2 AND f.following AND NOT f.muted AND f.user_id <> ALL ($4)
            UNION ALL
            SELECT u.user_id, 'mentioned' FROM unnest($4::uuid[]) AS u (user_id)
            WHERE NOT EXISTS (SELECT FROM thread_followers f
                WHERE f.team_id = $1 AND f.thread_id = $2 AND f.user_id = u.user_id AND f.muted)
        ) r JOIN memberships m ON m.team_id = $1 AND m.user_id = r.user_id
        WHERE m.user_id <> ALL ($5)
        ORDER BY m.user_id
        FOR KEY SHARE OF m
        ON CONFLICT (team_id, user_id, thread_id) DO UPDATE SET
            event_id = NULL,
            seq = excluded.seq,
            unread_count = n.unread_count + 1,
            reason = CASE WHEN n.read_at IS NULL AND n.reason = 'mentioned' THEN n.reason ELSE excluded.reason END,
            version = n.version + 1,
            read_at = NULL,
            transaction_id = excluded.transaction_id,
            updated_at = greatest(n.updated_at, excluded.updated_at)
        RETURNING n.user_id",
    )
    .bind(tx.team_id())
    .bind(thread_id)
    .bind(seq)
    .bind(mentioned)
    .bind(doers)
    .bind(Uuid::now_v7());
    told(tx, query).await
}

/// Runs what returns the recipients of notifications, and says that theirs have moved.
async fn told(tx: &TeamTx, query: Query<'_, Postgres, PgArguments>) -> Result<()> {
    for row in tx.fetch_all(query).await? {
        tx.hint(Moved::Notifications(row.try_get("user_id")?));
    }
    Ok(())
}

/// A row of an inbox, with its thread and the newest message.
#[derive(Debug)]
pub(super) struct InboxRow {
    pub(super) id: Uuid,
    pub(super) reason: String,
    pub(super) seq: i64,
    pub(super) unread_count: i32,
    pub(super) version: i64,
    pub(super) read_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) thread_id: Uuid,
    pub(super) object_type: String,
    pub(super) object_id: String,
    pub(super) object_label: String,
    /// A comment's author: kind, row, name.
    pub(super) author: Option<(String, Option<Uuid>, String)>,
    /// The event, if the newest message tells of one that is still at hand.
    pub(super) event: Option<Event>,
}

/// A page of a person's inbox, newest first, and how many of all their rows are unread. One row more than
/// `limit` is there if another page follows. Events are looked up one by one (`OFFSET 0`), each in the one
/// partition that can hold its id.
///
/// # Errors
/// As any statement.
pub(super) async fn inbox(
    tx: &TeamTx,
    user_id: Uuid,
    unread: bool,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: u64,
) -> Result<(i64, Vec<InboxRow>)> {
    // Not `coalesce` in the statement: PostgreSQL takes it for leaky, and would walk the index from its top.
    let (before_at, before_id) = after.unwrap_or((DateTime::<Utc>::MAX_UTC, Uuid::max()));
    let query = sqlx::query(
        "WITH page AS (
            SELECT * FROM notifications
            WHERE team_id = $1 AND user_id = $2 AND (NOT $3 OR read_at IS NULL)
                AND (updated_at, id) < ($4, $5)
            ORDER BY updated_at DESC, id DESC LIMIT $6
        )
        SELECT total.unread, n.id AS n_id, n.reason AS n_reason, n.seq, n.unread_count, n.version, n.read_at,
            n.created_at AS n_created_at, n.updated_at AS n_updated_at,
            t.id AS thread_id, t.object_type AS t_object_type, t.object_id AS t_object_id,
            t.object_label AS t_object_label, m.author_kind, m.author_id, m.author_name,
            e.*
        FROM (SELECT count(*) AS unread FROM notifications
              WHERE team_id = $1 AND user_id = $2 AND read_at IS NULL) total
        LEFT JOIN page n ON true
        LEFT JOIN threads t ON t.team_id = $1 AND t.id = n.thread_id
        LEFT JOIN thread_messages m ON m.team_id = $1 AND m.thread_id = n.thread_id AND m.seq = n.seq
        LEFT JOIN LATERAL (
            SELECT id, team_id, event_type, event_name, object_type, object_id, object_label, threadable, scope_type,
                scope_id, actor_kind, actor_id, actor_name, on_behalf_of, on_behalf_of_name, via, reason, event_data,
                schema_version, correlation_id, causation_id, request_id, transaction_id, created_at
            FROM events WHERE team_id = $1 AND id = n.event_id OFFSET 0
        ) e ON true
        ORDER BY n.updated_at DESC, n.id DESC",
    )
    .bind(tx.team_id())
    .bind(user_id)
    .bind(unread)
    .bind(before_at)
    .bind(before_id)
    .bind(i64::try_from(limit + 1).map_err(Error::internal)?);
    let rows = tx.fetch_all(query).await?;
    let total = rows.first().map_or(Ok(0), |row| row.try_get("unread"))?;
    let rows = rows
        .iter()
        .map(inbox_row)
        .filter_map(Result::transpose)
        .collect::<Result<_>>()?;
    Ok((total, rows))
}

/// `None` for the row that only carries the total.
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
        thread_id: row.try_get("thread_id")?,
        object_type: row.try_get("t_object_type")?,
        object_id: row.try_get("t_object_id")?,
        object_label: row.try_get("t_object_label")?,
        author,
        event,
    }))
}

/// A row's state of being read.
#[derive(Debug)]
pub(super) struct ReadRow {
    pub(super) read_at: Option<DateTime<Utc>>,
    pub(super) unread_count: i32,
    pub(super) version: i64,
}

/// Marks one of the person's notifications as read, and its thread as read up to there. One that is read
/// already stays as it is. `None`: no such notification of theirs.
///
/// # Errors
/// As any statement.
pub(super) async fn mark_read(tx: &TeamTx, user_id: Uuid, id: Uuid) -> Result<Option<ReadRow>> {
    let query = sqlx::query(
        "WITH marked AS (
            UPDATE notifications SET
                read_at = coalesce(read_at, now()),
                unread_count = 0,
                version = version + (read_at IS NULL)::int,
                transaction_id = pg_current_xact_id()::text::bigint
            WHERE team_id = $1 AND user_id = $2 AND id = $3
            RETURNING thread_id, seq, read_at, unread_count, version
        ), seen AS (
            UPDATE thread_followers f SET read_seq = marked.seq FROM marked
            WHERE f.team_id = $1 AND f.user_id = $2 AND f.thread_id = marked.thread_id AND f.read_seq < marked.seq
        )
        SELECT read_at, unread_count, version FROM marked",
    );
    tx.hint(Moved::Notifications(user_id));
    one(tx, query.bind(tx.team_id()).bind(user_id).bind(id)).await
}

/// Marks one of the person's notifications as unread. One that is unread already stays as it is. `None`: no
/// such notification of theirs.
///
/// # Errors
/// As any statement.
pub(super) async fn mark_unread(tx: &TeamTx, user_id: Uuid, id: Uuid) -> Result<Option<ReadRow>> {
    let query = sqlx::query(
        "UPDATE notifications SET
            read_at = NULL,
            unread_count = greatest(unread_count, 1),
            version = version + (read_at IS NOT NULL)::int,
            transaction_id = pg_current_xact_id()::text::bigint
         WHERE team_id = $1 AND user_id = $2 AND id = $3
         RETURNING read_at, unread_count, version",
    );
    tx.hint(Moved::Notifications(user_id));
    one(tx, query.bind(tx.team_id()).bind(user_id).bind(id)).await
}

async fn one(tx: &TeamTx, query: Query<'_, Postgres, PgArguments>) -> Result<Option<ReadRow>> {
    let Some(row) = tx.fetch_optional(query).await? else {
        return Ok(None);
    };
    Ok(Some(ReadRow {
        read_at: row.try_get("read_at")?,
        unread_count: row.try_get("unread_count")?,
        version: row.try_get("version")?,
    }))
}

/// Marks all of the person's notifications as read and says how many weren't. They are locked in the order in
/// which they are written.
///
/// # Errors
/// As any statement.
pub(super) async fn mark_all_read(tx: &TeamTx, user_id: Uuid) -> Result<i64> {
    let query = sqlx::query(
        "WITH mine AS MATERIALIZED (
            SELECT id FROM notifications
            WHERE team_id = $1 AND user_id = $2 AND read_at IS NULL
            ORDER BY thread_id FOR UPDATE
        ), marked AS (
            UPDATE notifications n SET read_at = now(), unread_count = 0, version = n.version + 1,
                transaction_id = pg_current_xact_id()::text::bigint
            FROM mine WHERE n.team_id = $1 AND n.id = mine.id
            RETURNING n.thread_id, n.seq
        ), seen AS (
            UPDATE thread_followers f SET read_seq = marked.seq FROM marked
            WHERE f.team_id = $1 AND f.user_id = $2 AND f.thread_id = marked.thread_id AND f.read_seq < marked.seq
        )
        SELECT count(*) AS marked FROM marked",
    )
    .bind(tx.team_id())
    .bind(user_id);
    tx.hint(Moved::Notifications(user_id));
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("a count returned no row"))?;
    Ok(row.try_get("marked")?)
}
