//! Events become notifications.

use std::collections::BTreeMap;

use daybook_macros::event_consumer;

use super::{doers, store};
use crate::events::{ConsumerResult, Event, EventType};
use crate::tenancy::TeamTx;

/// Makes who created an object a follower of its thread, and notifies followers and watchers. One statement a type
/// of events, whatever their number; what a helper records is of one type.
///
/// Its name sorts after that of the consumer that posts to threads, so the threads are there.
#[event_consumer(all, name = "daybook.send_notifications")]
pub async fn send_notifications(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    for (event_type, objects) in &by_type(events) {
        let context = tx.context();
        store::deliver_events(tx, *event_type, objects, context.person_id(), &doers(context)).await?;
    }
    Ok(())
}

type ByObject<'a> = BTreeMap<(&'a str, &'a str), store::Told>;

fn by_type(events: &[Event]) -> BTreeMap<EventType, ByObject<'_>> {
    let mut by_type: BTreeMap<EventType, ByObject<'_>> = BTreeMap::new();
    // From the newest back: what was counted before of an object came after.
    let mut later: BTreeMap<(&str, &str), i32> = BTreeMap::new();
    for event in events.iter().rev().filter(|event| event.threadable) {
        let object = (event.object_type.as_str(), event.object_id.as_str());
        let later = later.entry(object).or_default();
        let told = by_type
            .entry(event.event_type)
            .or_default()
            .entry(object)
            .or_insert(store::Told {
                messages: 0,
                newest: event.id,
                from_end: *later,
            });
        told.messages += 1;
        *later += 1;
    }
    by_type
}
