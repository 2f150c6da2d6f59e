//! People's own settings: follows, mutes, read marks and watches.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::tenancy::TeamTx;

/// A person's settings for a thread, and their read mark.
#[derive(Debug)]
pub(in crate::threads) struct FollowRow {
    pub(in crate::threads) following: bool,
    pub(in crate::threads) muted: bool,
    pub(in crate::threads) read_seq: i64,
}

/// Follows or unfollows a thread. Returns `None` if there is no such thread.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn set_following(
    tx: &TeamTx,
    thread_id: Uuid,
    user_id: Uuid,
    following: bool,
) -> Result<Option<FollowRow>> {
    let query = sqlx::query(
        "INSERT INTO thread_followers AS f (team_id, thread_id, user_id, following, reason)
         SELECT $1, id, $3, $4, 'manual' FROM threads WHERE team_id = $1 AND id = $2
         ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET
             reason = CASE WHEN f.following = excluded.following AND f.reason <> 'reader' THEN f.reason
                 ELSE 'manual' END,
             following = excluded.following
         RETURNING following, muted, read_seq",
    );
    follow_row(
        tx.fetch_optional(query.bind(tx.team_id()).bind(thread_id).bind(user_id).bind(following))
            .await?,
    )
}

/// Mutes or unmutes a thread. It does not make a person a follower. Returns `None` if there is no such thread.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn set_muted(
    tx: &TeamTx,
    thread_id: Uuid,
    user_id: Uuid,
    muted: bool,
) -> Result<Option<FollowRow>> {
    let query = sqlx::query(
        "INSERT INTO thread_followers AS f (team_id, thread_id, user_id, following, muted, reason)
         SELECT $1, id, $3, false, $4, 'manual' FROM threads WHERE team_id = $1 AND id = $2
         ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET
             muted = excluded.muted,
             reason = CASE WHEN f.reason = 'reader' THEN excluded.reason ELSE f.reason END
         RETURNING following, muted, read_seq",
    );
    follow_row(
        tx.fetch_optional(query.bind(tx.team_id()).bind(thread_id).bind(user_id).bind(muted))
            .await?,
    )
}

fn follow_row(row: Option<PgRow>) -> Result<Option<FollowRow>> {
    let Some(row) = row else { return Ok(None) };
    Ok(Some(FollowRow {
        following: row.try_get("following")?,
        muted: row.try_get("muted")?,
        read_seq: row.try_get("read_seq")?,
    }))
}

/// A person's read mark in a thread.
#[derive(Debug)]
pub(in crate::threads) struct ReadMarkRow {
    /// `None` if the requested position is after the last message.
    pub(in crate::threads) read_seq: Option<i64>,
    pub(in crate::threads) last_seq: i64,
}

/// Moves a person's read mark forward to an existing position. A person without a row for the thread gets one with the
/// reason `reader`, which is not a choice for or against following. Returns `None` if there is no such thread.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn set_read(
    tx: &TeamTx,
    thread_id: Uuid,
    user_id: Uuid,
    seq: i64,
) -> Result<Option<ReadMarkRow>> {
    let query = sqlx::query(
        "WITH thread AS (
            SELECT id, last_seq FROM threads WHERE team_id = $1 AND id = $2
        ), marked AS (
            INSERT INTO thread_followers AS f (team_id, thread_id, user_id, following, reason, read_seq)
            SELECT $1, id, $3, false, 'reader', $4 FROM thread WHERE $4 <= last_seq
            ON CONFLICT (team_id, thread_id, user_id) DO UPDATE SET read_seq = greatest(f.read_seq, excluded.read_seq)
            RETURNING read_seq
        )
        SELECT thread.last_seq, marked.read_seq FROM thread LEFT JOIN marked ON true",
    );
    let Some(row) = tx
        .fetch_optional(query.bind(tx.team_id()).bind(thread_id).bind(user_id).bind(seq))
        .await?
    else {
        return Ok(None);
    };
    Ok(Some(ReadMarkRow {
        read_seq: row.try_get("read_seq")?,
        last_seq: row.try_get("last_seq")?,
    }))
}

/// A watch: the person is notified of every new object of the type.
#[derive(Debug)]
pub(in crate::threads) struct WatchRow {
    pub(in crate::threads) object_type: String,
    pub(in crate::threads) created_at: DateTime<Utc>,
}

/// Returns a person's watches in the order of their object types, after the given type. Returns `limit + 1` rows if
/// there are more than `limit`.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn watches(
    tx: &TeamTx,
    user_id: Uuid,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<WatchRow>> {
    let query = sqlx::query(
        "SELECT object_type, created_at FROM watches
         WHERE team_id = $1 AND user_id = $2 AND object_type > $3
         ORDER BY object_type LIMIT $4",
    )
    .bind(tx.team_id())
    .bind(user_id)
    .bind(after.unwrap_or_default())
    .bind(i64::try_from(limit + 1).map_err(Error::internal)?);
    tx.fetch_all(query).await?.iter().map(watch_row).collect()
}

/// Watches an object type. An existing watch keeps its time.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn watch(tx: &TeamTx, user_id: Uuid, object_type: &str) -> Result<WatchRow> {
    let query = sqlx::query(
        "INSERT INTO watches AS w (team_id, user_id, object_type) VALUES ($1, $2, $3)
         ON CONFLICT (team_id, user_id, object_type) DO UPDATE SET object_type = w.object_type
         RETURNING object_type, created_at",
    )
    .bind(tx.team_id())
    .bind(user_id)
    .bind(object_type);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("the INSERT of a watch returned no row"))?;
    watch_row(&row)
}

/// Ends a watch, if there is one.
///
/// # Errors
/// Those of any database statement.
pub(in crate::threads) async fn unwatch(tx: &TeamTx, user_id: Uuid, object_type: &str) -> Result<()> {
    let query = sqlx::query("DELETE FROM watches WHERE team_id = $1 AND user_id = $2 AND object_type = $3")
        .bind(tx.team_id())
        .bind(user_id)
        .bind(object_type);
    tx.execute_sql(query).await?;
    Ok(())
}

fn watch_row(row: &PgRow) -> Result<WatchRow> {
    Ok(WatchRow {
        object_type: row.try_get("object_type")?,
        created_at: row.try_get("created_at")?,
    })
}
