//! Computes the counts of a team again.

use super::consumer::count_events;
use crate::error::Result;
use crate::tenancy::TeamTx;

/// Deletes the team's counts and counts all its events again, including those recorded before the consumer existed.
/// Returns the number of events.
///
/// # Errors
/// Those of any database statement.
pub async fn rebuild(tx: &TeamTx) -> Result<u64> {
    let lock = sqlx::query("SELECT FROM teams WHERE id = $1 FOR NO KEY UPDATE");
    tx.fetch_all(lock.bind(tx.team_id())).await?;
    tx.execute_sql(sqlx::query("DELETE FROM event_counts WHERE team_id = $1").bind(tx.team_id()))
        .await?;
    // Marks the counted events as done, because their delivery to the consumer may still be pending. One statement does
    // both, so that both see the same events.
    let query = sqlx::query(
        "WITH done AS (
            INSERT INTO consumer_effects (team_id, consumer, event_id)
            SELECT $1, $2, id FROM events WHERE team_id = $1 ON CONFLICT DO NOTHING
        )
        INSERT INTO event_counts (team_id, day, object_type, event_type, actor_kind, actor_id, events)
        SELECT $1, (created_at AT TIME ZONE 'UTC')::date, object_type, event_type, actor_kind,
            coalesce(actor_id, '00000000-0000-0000-0000-000000000000'), count(*)
        FROM events WHERE team_id = $1 GROUP BY 1, 2, 3, 4, 5, 6
        RETURNING events",
    );
    let rows = tx
        .fetch_all(query.bind(tx.team_id()).bind(count_events::CONSUMER.name))
        .await?;
    let mut events = 0;
    for row in &rows {
        let counted: i64 = sqlx::Row::try_get(row, "events")?;
        events += u64::try_from(counted).unwrap_or_default();
    }
    Ok(events)
}
