//! Events for consumers that run after the commit.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use uuid::Uuid;

use super::cursor::{self, At, Cluster, Envelope};
use crate::error::Result;
use crate::events::{ConsumerDef, EventType, RunFn};
use crate::jobs::consume::ConsumeEvents;
use crate::jobs::job::Job;
use crate::jobs::queue::payload;
use crate::tenancy::{Context, WorkerTx};

/// How many events are read at once.
const BATCH: i64 = 1_000;

/// Hands the events that have committed since to their consumers, as jobs. Returns how many events were read.
pub(super) async fn hand_over(tx: &mut WorkerTx, durable: &[&'static ConsumerDef]) -> Result<u64> {
    if durable.is_empty() {
        return Ok(0);
    }
    let cluster = Cluster::now(tx).await?;
    let names: Vec<&str> = durable.iter().map(|consumer| consumer.name).collect();
    // Most are at the same place, and read the same.
    let mut places: HashMap<At, Vec<&'static ConsumerDef>> = HashMap::new();
    for cursor in cursor::cursors(tx, &cluster, &names).await? {
        if let Some(consumer) = durable.iter().find(|consumer| consumer.name == cursor.consumer) {
            places.entry(cursor.at).or_default().push(consumer);
        }
    }
    let mut read = 0;
    for (at, consumers) in places {
        let (envelopes, after) = cursor::next(tx, &cluster, &at, BATCH).await?;
        if after == at {
            continue;
        }
        let payloads = consumers
            .iter()
            .flat_map(|consumer| deliveries(consumer, &envelopes))
            .map(|(context, delivery)| payload(Uuid::now_v7(), &context, &delivery))
            .collect::<Result<Vec<_>>>()?;
        add(tx, payloads).await?;
        let names: Vec<&str> = consumers.iter().map(|consumer| consumer.name).collect();
        cursor::save(tx, &cluster, &names, &after).await?;
        // Past what was restored there is more to read, though nothing was read here.
        read += envelopes.len().max(1) as u64;
    }
    Ok(read)
}

/// What a consumer is to be given of these events, and in which context.
fn deliveries(consumer: &'static ConsumerDef, envelopes: &[Envelope]) -> Vec<(Context, ConsumeEvents)> {
    let matching = envelopes.iter().filter(|envelope| {
        let event_type: Result<EventType> = envelope.event_type.parse();
        event_type.is_ok_and(|event_type| consumer.is_for(event_type, &envelope.object_type))
    });
    let delivery = |envelopes: &[&Envelope]| {
        let first = envelopes.first()?;
        let one_story = envelopes
            .iter()
            .all(|envelope| envelope.correlation_id == first.correlation_id);
        let mut context = Context::system(first.team_id, consumer.name);
        context.causation_id = Some(first.id);
        if one_story {
            context.correlation_id = first.correlation_id;
        }
        let event_ids = envelopes.iter().map(|envelope| envelope.id).collect();
        Some((context, ConsumeEvents::new(consumer.name, event_ids)))
    };
    match consumer.run {
        RunFn::Slice(_) | RunFn::DurableSlice(_) => {
            let mut teams: BTreeMap<Uuid, Vec<&Envelope>> = BTreeMap::new();
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

async fn add(tx: &mut WorkerTx, payloads: Vec<Value>) -> Result<()> {
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
