//! A consumer that records the events that it receives.

use std::panic::Location;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::events::{ConsumerDef, ConsumerResult, Event, EventType, Mode, RunFn};
use crate::tenancy::{Database, TeamTx};

/// A consumer that takes slices of all events, and adds each call to the [`Recording`] of its database.
///
/// It is not registered automatically: name it, as in `Consumers::of([RECORDER, greet::CONSUMER])`.
pub const RECORDER: &ConsumerDef = &ConsumerDef {
    name: "daybook::testing::recorder",
    location: Location::caller(),
    event_types: EventType::ALL,
    object_type: None,
    mode: Mode::Abort,
    run: RunFn::Slice(|tx, events| Box::pin(record(tx, events))),
};

async fn record(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    let Some(recording) = tx.extension::<Recording>() else {
        return Err("the recorder needs a Database from daybook::testing, which has a Recording".into());
    };
    recording.add(events);
    Ok(())
}

/// The events that the consumers of a [`Database`] received. Clones share the same events.
///
/// [`RECORDER`] fills it. A test's own consumer may do so, too: with `tx.extension::<Recording>()` and
/// [`Recording::add`]. Events stay in it, even if the transaction is rolled back.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    calls: Arc<Mutex<Vec<Vec<Event>>>>,
}

impl Recording {
    /// Returns the recording of a database from [`TestDb`](super::TestDb), or an empty one for any other database.
    pub fn of(database: &Database) -> Self {
        database.extension::<Self>().cloned().unwrap_or_default()
    }

    /// Adds a call.
    pub fn add(&self, events: &[Event]) {
        self.calls.lock().push(events.to_vec());
    }

    /// Returns the events of each call, in the order of the calls.
    pub fn calls(&self) -> Vec<Vec<Event>> {
        self.calls.lock().clone()
    }

    /// Returns all events, in the order in which they were received.
    pub fn events(&self) -> Vec<Event> {
        self.calls.lock().concat()
    }

    /// Removes all events.
    pub fn clear(&self) {
        self.calls.lock().clear();
    }
}
