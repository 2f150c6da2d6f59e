//! Events become notifications.

use std::collections::BTreeMap;

use daybook_macros::event_consumer;

use super::{doers, store};
use crate::events::{ConsumerResult, Event, EventType};
use crate::tenancy::TeamTx;

/// Makes who created an object a follower of its thread, and notifies followers and watchers. One statement,
/// whatever the number of events.
///
/// Its name sorts after that of the consumer that posts to threads, so the threads are there.
#[event_consumer(all, name = "daybook.send_notifications")]
pub async fn send_notifications(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    let mut objects: BTreeMap<(&str, &str), store::Told> = BTreeMap::new();
    for event in events.iter().filter(|event| event.threadable) {
        let told = objects.entry((&event.object_type, &event.object_id)).or_default();
        told.messages += 1;
        told.newest = event.id;
        told.created |= event.event_type == EventType::Created;
    }
    if !objects.is_empty() {
        store::deliver_events(tx, &objects, tx.context().person_id(), &doers(tx.context())).await?;
    }
    Ok(())
}
