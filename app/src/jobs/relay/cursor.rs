//! The cursors of durable consumers: positions in the order in which events are handed over.
//!
//! Events are ordered by the id of their transaction. They are handed over up to the oldest transaction that is in
//! progress: every transaction before it has committed or never will. So no event is skipped, however long a
//! transaction takes.
//!
//! Transaction ids belong to one database cluster. A restored dump contains events with the ids of another cluster. Of
//! these, the events that were not handed over there come first, in their old order. Then come this cluster's own
//! events, from the first one. A dump creates a table's triggers after its rows, so every row of `events` that is older
//! in this cluster than the table's trigger was restored.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::Result;
use crate::jobs::queue_state::{JobCounts, Lag};
use crate::tenancy::timestamps::clamped;
use crate::tenancy::{WorkerDatabase, WorkerTx};

/// Maximum number of events that a lag counts.
const MAX_LAG_EVENTS: i64 = 100_000;

/// SQL for whether an event was restored: its row is at least as old as the trigger, whose age is `$1`.
const RESTORED: &str = "age(e.xmin) >= $1";

/// The position of one consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConsumerCursor {
    pub(super) consumer: String,
    pub(super) at: EventPosition,
}

/// A position in the order of events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct EventPosition {
    transaction_id: i64,
    event_id: Uuid,
    /// Whether the position is among restored events, which have the transaction ids of another cluster.
    restored: bool,
    /// The newest restored event that is done: handed over, or older than the consumer.
    restored_to: Uuid,
}

/// The columns of an event that the relay may read.
#[derive(Debug, Clone)]
pub(super) struct EventEnvelope {
    pub(super) team_id: Uuid,
    pub(super) id: Uuid,
    pub(super) transaction_id: i64,
    pub(super) event_type: String,
    pub(super) object_type: String,
    pub(super) correlation_id: Uuid,
}

/// The database cluster, and the state of its transaction ids.
#[derive(Debug)]
pub(super) struct Cluster {
    identifier: String,
    /// The id of the oldest transaction that may be in progress.
    horizon: i64,
    /// The id of the next transaction.
    next: i64,
    /// The age of the trigger of `events`, in transactions.
    age: i32,
}

impl Cluster {
    /// Reads the current state.
    pub(super) async fn now(tx: &mut WorkerTx) -> Result<Self> {
        let query = sqlx::query(
            "SELECT pg_snapshot_xmin(s)::text::bigint AS horizon, pg_snapshot_xmax(s)::text::bigint AS next,
                (SELECT system_identifier::text FROM pg_control_system()) AS identifier,
                (SELECT age(xmin) FROM pg_trigger
                 WHERE tgrelid = 'events'::regclass AND tgname = 'refuse_truncate') AS age
             FROM pg_current_snapshot() s",
        );
        let row = tx.fetch_one(query).await?;
        Ok(Self {
            identifier: row.try_get("identifier")?,
            horizon: row.try_get("horizon")?,
            next: row.try_get("next")?,
            age: row.try_get("age")?,
        })
    }

    /// Returns the position before the first event that was written in this cluster.
    fn beginning(&self, restored_to: Uuid) -> EventPosition {
        EventPosition {
            transaction_id: self.next - i64::from(self.age),
            event_id: Uuid::nil(),
            restored: false,
            restored_to,
        }
    }
}

/// Returns the lag of each consumer. That is the number of events that [`next`] will return for it, at once or when
/// older transactions have ended, at most [`MAX_LAG_EVENTS`], and the time of the oldest one.
///
/// As in [`next`], the condition depends on whether the cursor is in this cluster or among restored events. The numbers
/// are right even before the relay has noticed a restore. Events with a transaction id that this cluster has not
/// reached are never handed over, and are not counted.
///
/// # Errors
/// Those of any database statement.
pub(in crate::jobs) async fn lags(workers: &WorkerDatabase) -> Result<Vec<Lag>> {
    let sql = format!(
        "WITH cluster AS MATERIALIZED (
            SELECT (SELECT system_identifier::text FROM pg_control_system()) AS identifier,
                pg_snapshot_xmax(s)::text::bigint AS next,
                (SELECT age(xmin) FROM pg_trigger
                 WHERE tgrelid = 'events'::regclass AND tgname = 'refuse_truncate') AS age
            FROM pg_current_snapshot() s
         ), cursors AS MATERIALIZED (
            SELECT c.consumer, c.transaction_id, c.event_id, c.restored_to, c.updated_at, k.next, k.age,
                c.restored OR c.system_identifier <> k.identifier AS elsewhere
            FROM consumer_cursors c, cluster k WHERE c.consumer <> ''
         )
         SELECT c.consumer, {updated_at} AS updated_at, l.events, {since} AS since
         FROM cursors c
         CROSS JOIN LATERAL (
            SELECT count(*) AS events, min(left_to_do.created_at) AS since FROM (
                (SELECT e.created_at FROM events e
                 WHERE NOT c.elsewhere AND (e.transaction_id, e.id) > (c.transaction_id, c.event_id)
                    AND e.transaction_id < c.next AND (e.id > c.restored_to OR NOT {restored})
                 ORDER BY e.transaction_id, e.id LIMIT $1)
                UNION ALL
                (SELECT e.created_at FROM events e
                 WHERE c.elsewhere AND (e.transaction_id, e.id) > (c.transaction_id, c.event_id)
                    AND e.id > c.restored_to AND {restored}
                 ORDER BY e.transaction_id, e.id LIMIT $1)
                UNION ALL
                (SELECT e.created_at FROM events e
                 WHERE c.elsewhere AND e.transaction_id >= c.next - c.age AND e.transaction_id < c.next AND NOT {restored}
                 ORDER BY e.transaction_id, e.id LIMIT $1)
                LIMIT $1
            ) left_to_do
         ) l
         ORDER BY c.consumer",
        restored = "(age(e.xmin) >= c.age)",
        updated_at = clamped("c.updated_at"),
        since = clamped("l.since"),
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(MAX_LAG_EVENTS);
    let rows = workers.fetch_all(query).await?;
    rows.iter()
        .map(|row| {
            Ok(Lag {
                consumer: row.try_get("consumer")?,
                events: row.try_get("events")?,
                since: row.try_get("since")?,
                moved_at: row.try_get("updated_at")?,
                jobs: JobCounts::default(),
            })
        })
        .collect()
}

/// Returns the cursors of these consumers. A missing one is created at the current position: its consumer receives the
/// events that are recorded after this.
pub(super) async fn cursors(tx: &mut WorkerTx, cluster: &Cluster, consumers: &[&str]) -> Result<Vec<ConsumerCursor>> {
    const READ: &str = "SELECT consumer, transaction_id, event_id, system_identifier, restored, restored_to
         FROM consumer_cursors WHERE consumer = ANY($1)";
    let mut rows = tx.fetch_all(sqlx::query(READ).bind(consumers)).await?;
    if rows.len() < consumers.len() {
        let first = sqlx::query(
            "INSERT INTO consumer_cursors (consumer, transaction_id, event_id, system_identifier, restored_to)
             SELECT name, $2, '00000000-0000-0000-0000-000000000000', $3, $4 FROM unnest($1::text[]) AS name
             ON CONFLICT DO NOTHING",
        )
        .bind(consumers)
        .bind(cluster.horizon)
        .bind(&cluster.identifier)
        .bind(restored_ahead(tx, cluster).await?);
        tx.execute(first).await?;
        rows = tx.fetch_all(sqlx::query(READ).bind(consumers)).await?;
    }
    let mut cursors = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut cursor = ConsumerCursor {
            consumer: row.try_get("consumer")?,
            at: EventPosition {
                transaction_id: row.try_get("transaction_id")?,
                event_id: row.try_get("event_id")?,
                restored: row.try_get("restored")?,
                restored_to: row.try_get("restored_to")?,
            },
        };
        if row.try_get::<&str, _>("system_identifier")? != cluster.identifier {
            cursor.at = translated_position(tx, cluster, cursor.at).await?;
            tracing::warn!(
                consumer = cursor.consumer,
                "jobs: relay: the database was moved to another cluster; events from there that were not handed over come first"
            );
            save(tx, cluster, &[cursor.consumer.as_str()], &cursor.at).await?;
        }
        cursors.push(cursor);
    }
    Ok(cursors)
}

/// Returns the newest restored event whose transaction id this cluster has not reached. A new consumer skips the events
/// up to it, because they are older than the consumer. Without a restore, few rows have such an id.
async fn restored_ahead(tx: &mut WorkerTx, cluster: &Cluster) -> Result<Uuid> {
    let sql = format!(
        "SELECT coalesce((SELECT e.id FROM events e WHERE e.transaction_id >= $2 AND {RESTORED}
            ORDER BY e.id DESC LIMIT 1), '00000000-0000-0000-0000-000000000000') AS restored_to"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(cluster.age)
        .bind(cluster.horizon);
    Ok(tx.fetch_one(query).await?.try_get("restored_to")?)
}

/// Translates a position of another cluster into this one.
async fn translated_position(tx: &mut WorkerTx, cluster: &Cluster, at: EventPosition) -> Result<EventPosition> {
    let sql = format!("SELECT EXISTS (SELECT FROM events e WHERE {RESTORED}) AS restored");
    let row = tx
        .fetch_one(sqlx::query(sqlx::AssertSqlSafe(sql)).bind(cluster.age))
        .await?;
    Ok(if row.try_get("restored")? {
        EventPosition { restored: true, ..at }
    } else {
        cluster.beginning(at.restored_to)
    })
}

/// Returns the next events after a position, in order, and the position after them.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn next(
    tx: &mut WorkerTx,
    cluster: &Cluster,
    at: &EventPosition,
    limit: i64,
) -> Result<(Vec<EventEnvelope>, EventPosition)> {
    const COLUMNS: &str = "e.team_id, e.id, e.transaction_id, e.event_type, e.object_type, e.correlation_id";
    let (which, until) = if at.restored {
        (format!("e.id > $4 AND {RESTORED}"), i64::MAX)
    } else {
        // Restored events may have any transaction id, so they are excluded by their own id, which begins with a time.
        // If a clock was wrong, an event of this cluster may have such an id, too.
        (format!("(e.id > $4 OR NOT {RESTORED})"), cluster.horizon)
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM events e
         WHERE (e.transaction_id, e.id) > ($2, $3) AND e.transaction_id < $5 AND {which}
         ORDER BY e.transaction_id, e.id LIMIT $6"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(cluster.age)
        .bind(at.transaction_id)
        .bind(at.event_id)
        .bind(at.restored_to)
        .bind(until)
        .bind(limit);
    let rows = tx.fetch_all(query).await?;
    let envelopes = rows.iter().map(envelope).collect::<Result<Vec<_>>>()?;
    let after = match envelopes.last() {
        Some(last) => EventPosition {
            transaction_id: last.transaction_id,
            event_id: last.id,
            ..at.clone()
        },
        None if at.restored => first_own_position(tx, cluster).await?,
        None => at.clone(),
    };
    Ok((envelopes, after))
}

/// Returns the position from which this cluster's own events are handed over, after all restored events.
async fn first_own_position(tx: &mut WorkerTx, cluster: &Cluster) -> Result<EventPosition> {
    let sql = format!(
        "SELECT coalesce((SELECT e.id FROM events e WHERE {RESTORED} ORDER BY e.id DESC LIMIT 1),
            '00000000-0000-0000-0000-000000000000') AS restored_to"
    );
    let row = tx
        .fetch_one(sqlx::query(sqlx::AssertSqlSafe(sql)).bind(cluster.age))
        .await?;
    Ok(cluster.beginning(row.try_get("restored_to")?))
}

fn envelope(row: &PgRow) -> Result<EventEnvelope> {
    Ok(EventEnvelope {
        team_id: row.try_get("team_id")?,
        id: row.try_get("id")?,
        transaction_id: row.try_get("transaction_id")?,
        event_type: row.try_get("event_type")?,
        object_type: row.try_get("object_type")?,
        correlation_id: row.try_get("correlation_id")?,
    })
}

/// Saves the position of these consumers.
pub(super) async fn save(tx: &mut WorkerTx, cluster: &Cluster, consumers: &[&str], at: &EventPosition) -> Result<()> {
    let query = sqlx::query(
        "UPDATE consumer_cursors SET transaction_id = $2, event_id = $3, restored = $4, restored_to = $5,
            system_identifier = $6, updated_at = clock_timestamp()
         WHERE consumer = ANY($1)",
    )
    .bind(consumers)
    .bind(at.transaction_id)
    .bind(at.event_id)
    .bind(at.restored)
    .bind(at.restored_to)
    .bind(&cluster.identifier);
    tx.execute(query).await?;
    Ok(())
}
