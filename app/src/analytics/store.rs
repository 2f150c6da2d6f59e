//! Writes the counts.

use uuid::Uuid;

use crate::error::Result;
use crate::tenancy::TeamTx;

/// Locks the team's row so that this transaction can count concurrently with others, but not with a rebuild.
///
/// Both lock the team's row, because only a role that may write the team's rows can lock it. Any role that can connect
/// could hold an advisory lock. A foreign key to the team locks only the row's key, so it waits for neither of the two
/// locks.
pub(super) async fn lock_against_rebuild(tx: &TeamTx) -> Result<()> {
    let query = sqlx::query("SELECT FROM teams WHERE id = $1 FOR SHARE");
    tx.fetch_all(query.bind(tx.team_id())).await?;
    Ok(())
}

/// Adds these events to the counts.
pub(super) async fn add(tx: &TeamTx, event_ids: &[Uuid]) -> Result<()> {
    if event_ids.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(
        "INSERT INTO event_counts AS c (team_id, day, object_type, event_type, actor_kind, actor_id, events)
         SELECT $1, (e.created_at AT TIME ZONE 'UTC')::date, e.object_type, e.event_type, e.actor_kind,
            coalesce(e.actor_id, '00000000-0000-0000-0000-000000000000'), count(*)
         FROM unnest($2::uuid[]) AS wanted (id)
         CROSS JOIN LATERAL (
            SELECT created_at, object_type, event_type, actor_kind, actor_id FROM events
            WHERE team_id = $1 AND id = wanted.id OFFSET 0
         ) e
         -- In the same order in all transactions, so that two batches don't deadlock.
         GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 2, 3, 4, 5, 6
         ON CONFLICT (team_id, day, object_type, event_type, actor_kind, actor_id) DO UPDATE SET events = c.events + excluded.events",
    );
    tx.execute_sql(query.bind(tx.team_id()).bind(event_ids)).await?;
    Ok(())
}
