//! Delivers past events to a durable consumer again.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use uuid::Uuid;

use super::consume::ConsumeEvents;
use super::enqueue::Enqueue as _;
use super::job::JobOptions;
use crate::error::{Error, Result};
use crate::events::{ConsumerDef, RunFn};
use crate::tenancy::{TeamTx, WorkerDatabase};

/// Returns the team's events since a given time that the consumer is registered for, oldest first.
///
/// # Errors
/// Those of any database statement.
pub async fn replayable(tx: &TeamTx, consumer: &ConsumerDef, since: DateTime<Utc>) -> Result<Vec<Uuid>> {
    let types: Vec<&str> = consumer.event_types.iter().map(|known| known.as_str()).collect();
    let query = sqlx::query(
        "SELECT id FROM events WHERE team_id = $1 AND id >= daybook_uuid7_floor($2) AND event_type = ANY($3)
            AND ($4::text IS NULL OR object_type = $4) ORDER BY id",
    )
    .bind(tx.team_id())
    .bind(since)
    .bind(types)
    .bind(consumer.object_type);
    let rows = tx.fetch_all(query).await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// Enqueues the delivery of these events to a durable consumer, and returns the number of jobs. If the consumer guards
/// an effect with `once`, and the effect has happened, it is repeated only if `again` is true.
///
/// # Errors
/// [`Error::Invalid`] for a consumer that is not durable; those of any database statement.
pub async fn replay(tx: &TeamTx, consumer: &'static ConsumerDef, event_ids: &[Uuid], again: bool) -> Result<usize> {
    let size = match consumer.run {
        RunFn::DurableEach(_) => 1,
        RunFn::DurableSlice(_) => ConsumeEvents::SLICE,
        RunFn::Each(_) | RunFn::Slice(_) => {
            return Err(Error::invalid(
                "consumer",
                format!(
                    "{} is not durable: it already ran in the events' transactions",
                    consumer.name
                ),
            ));
        }
    };
    if again {
        let forget =
            sqlx::query("DELETE FROM consumer_effects WHERE team_id = $1 AND consumer = $2 AND event_id = ANY($3)");
        tx.execute_sql(forget.bind(tx.team_id()).bind(consumer.name).bind(event_ids))
            .await?;
    }
    let jobs: Vec<_> = event_ids
        .chunks(size)
        .map(|slice| ConsumeEvents::new(consumer.name, slice.to_vec()))
        .collect();
    let job_count = jobs.len();
    tx.enqueue_all(jobs, JobOptions::new()).await?;
    Ok(job_count)
}

/// Deletes a consumer's cursor. Returns false if it has none.
///
/// # Errors
/// Those of any database statement.
pub async fn forget_cursor(workers: &WorkerDatabase, consumer: &str) -> Result<bool> {
    // The row of the leader has an empty name.
    let query = sqlx::query("DELETE FROM consumer_cursors WHERE consumer = $1 AND consumer <> '' RETURNING consumer");
    Ok(!workers.fetch_all(query.bind(consumer)).await?.is_empty())
}
