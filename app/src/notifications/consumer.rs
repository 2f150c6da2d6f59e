//! The consumer that notifies people of events.

use std::collections::BTreeMap;

use daybook_macros::event_consumer;

use super::initiators::initiators;
use super::store;
use crate::events::{ConsumerResult, Event, EventType};
use crate::tenancy::TeamTx;

/// Makes the creator of an object a follower of its thread, and notifies followers and watchers. Sends one statement
/// per event type, whatever the number of events. The events of one helper call have one type.
///
/// Consumers run in the order of their names. This one comes after the one that posts to threads, so the threads exist
/// when it runs.
#[event_consumer(all, name = "daybook.send_notifications")]
pub async fn send_notifications(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    for (event_type, objects) in &by_type(events) {
        let context = tx.context();
        store::deliver_events(tx, *event_type, objects, context.person_id(), &initiators(context)).await?;
    }
    Ok(())
}

type ByObject<'a> = BTreeMap<(&'a str, &'a str), store::ObjectEvents>;

fn by_type(events: &[Event]) -> BTreeMap<EventType, ByObject<'_>> {
    let mut by_type: BTreeMap<EventType, ByObject<'_>> = BTreeMap::new();
    // The number of later events of each object, because the loop runs from the newest event to the oldest.
    let mut later: BTreeMap<(&str, &str), i32> = BTreeMap::new();
    for event in events.iter().rev().filter(|event| event.threadable) {
        let object = (event.object_type.as_str(), event.object_id.as_str());
        let later = later.entry(object).or_default();
        let object_events = by_type
            .entry(event.event_type)
            .or_default()
            .entry(object)
            .or_insert(store::ObjectEvents {
                messages: 0,
                newest: event.id,
                from_end: *later,
            });
        object_events.messages += 1;
        *later += 1;
    }
    by_type
}
