//! The monthly partitions of `events`.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use daybook_tenancy::Database;
use daybook_tenancy::error::Result;

/// Creates the missing partitions of this month and the next three. Returns the number of [stray events](stray_events).
///
/// # Errors
/// Those of any database statement.
pub async fn ensure_partitions(database: &Database) -> Result<u64> {
    // One message, because a pooler may send a second one to another connection.
    let sql =
        "SELECT pg_stat_get_live_tuples('events_default'::regclass) AS strays FROM daybook_ensure_event_partitions(3)";
    strays(&database.fetch_one_without_team(sql).await?)
}

/// Returns the number of events in the default partition, by PostgreSQL's statistics. These are the events whose month
/// has no partition. The number should be 0: an event's id contains its time, so such an event comes from a
/// wrong clock.
///
/// # Errors
/// Those of any database statement.
pub async fn stray_events(database: &Database) -> Result<u64> {
    let sql = "SELECT pg_stat_get_live_tuples('events_default'::regclass) AS strays";
    strays(&database.fetch_one_without_team(sql).await?)
}

fn strays(row: &PgRow) -> Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>("strays")?).unwrap_or_default())
}
