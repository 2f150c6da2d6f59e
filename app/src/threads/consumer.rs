//! The consumer that posts events to threads.

use daybook_macros::event_consumer;

use super::store;
use crate::events::{ConsumerResult, Event};
use crate::tenancy::TeamTx;

/// Posts each event to its object's thread, and creates the thread if there is none. Sends one statement, whatever the
/// number of events.
#[event_consumer(all, name = "daybook.post_to_thread")]
pub async fn post_to_thread(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    let threadable: Vec<&Event> = events.iter().filter(|event| event.threadable).collect();
    if !threadable.is_empty() {
        store::post_events(tx, &threadable).await?;
    }
    Ok(())
}
