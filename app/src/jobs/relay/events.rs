//! Hands events over to durable consumers, as jobs of the queue.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use uuid::Uuid;

use super::cursor::{self, Cluster, EventEnvelope, EventPosition};
use crate::error::Result;
use crate::events::{ConsumerDef, EventType, RunFn};
use crate::jobs::consume::ConsumeEvents;
use crate::jobs::job::Job;
use crate::jobs::payload::payload;
use crate::tenancy::{Context, WorkerTx};

/// Maximum number of events that are read for one position in one transaction.
const BATCH: i64 = 1_000;

/// Hands over the events that come after the consumers' cursors, and advances the cursors. Returns the number of events
/// that were read; it is positive if there may be more.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn hand_over(tx: &mut WorkerTx, durable: &[&'static ConsumerDef]) -> Result<u64> {
    if durable.is_empty() {
        return Ok(0);
    }
    let cluster = Cluster::now(tx).await?;
    let names: Vec<&str> = durable.iter().map(|consumer| consumer.name).collect();
    // Most consumers have the same position. Their events are read once.
    let mut positions: HashMap<EventPosition, Vec<&'static ConsumerDef>> = HashMap::new();
    for cursor in cursor::cursors(tx, &cluster, &names).await? {
        if let Some(consumer) = durable.iter().find(|consumer| consumer.name == cursor.consumer) {
            positions.entry(cursor.at).or_default().push(consumer);
        }
    }
    let mut read = 0;
    for (at, consumers) in positions {
        let (envelopes, after) = cursor::next(tx, &cluster, &at, BATCH).await?;
        if after == at {
            continue;
        }
        let payloads = consumers
            .iter()
            .flat_map(|consumer| deliveries(consumer, &envelopes))
            .map(|(context, delivery)| payload(Uuid::now_v7(), &context, &delivery))
            .collect::<Result<Vec<_>>>()?;
        add_jobs(tx, payloads).await?;
        let names: Vec<&str> = consumers.iter().map(|consumer| consumer.name).collect();
        cursor::save(tx, &cluster, &names, &after).await?;
        // The batch is empty when a position moves from the restored events to this cluster's own events. There may be
        // more.
        read += envelopes.len().max(1) as u64;
    }
    Ok(read)
}

/// Returns the jobs that deliver to a consumer those of these events that it is registered for. Each job has its
/// context.
fn deliveries(consumer: &'static ConsumerDef, envelopes: &[EventEnvelope]) -> Vec<(Context, ConsumeEvents)> {
    let matching = envelopes.iter().filter(|envelope| {
        let event_type: Result<EventType> = envelope.event_type.parse();
        event_type.is_ok_and(|event_type| consumer.is_for(event_type, &envelope.object_type))
    });
    let delivery = |envelopes: &[&EventEnvelope]| {
        let first = envelopes.first()?;
        let is_one_story = envelopes
            .iter()
            .all(|envelope| envelope.correlation_id == first.correlation_id);
        let mut context = Context::system(first.team_id, consumer.name);
        context.causation_id = Some(first.id);
        if is_one_story {
            context.correlation_id = first.correlation_id;
        }
        let event_ids = envelopes.iter().map(|envelope| envelope.id).collect();
        Some((context, ConsumeEvents::new(consumer.name, event_ids)))
    };
    match consumer.run {
        RunFn::Slice(_) | RunFn::DurableSlice(_) => {
            let mut teams: BTreeMap<Uuid, Vec<&EventEnvelope>> = BTreeMap::new();
            for envelope in matching {
                teams.entry(envelope.team_id).or_default().push(envelope);
            }
            teams
                .values()
                .flat_map(|team| team.chunks(ConsumeEvents::SLICE))
                .filter_map(delivery)
                .collect()
        }
        RunFn::Each(_) | RunFn::DurableEach(_) => matching.filter_map(|envelope| delivery(&[envelope])).collect(),
    }
}

/// Adds jobs to the queue, in order.
async fn add_jobs(tx: &mut WorkerTx, payloads: Vec<Value>) -> Result<()> {
    if payloads.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(
        "SELECT FROM graphile_worker.add_jobs(ARRAY(
            SELECT ROW($1, p::json, NULL, now(), $2::smallint, NULL, 0, NULL)::graphile_worker.job_spec
            FROM unnest($3::jsonb[]) WITH ORDINALITY AS given (p, place) ORDER BY place
        ))",
    )
    .bind(ConsumeEvents::NAME)
    .bind(ConsumeEvents::MAX_ATTEMPTS)
    .bind(payloads);
    tx.execute(query).await?;
    Ok(())
}
