//! A consumer that notes what it is given.

use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use crate::events::{ConsumerDef, ConsumerResult, Event, EventType, Mode, RunFn};
use crate::tenancy::{Database, TeamTx};

/// A consumer of every event, by slices, that notes each call in the [`Recording`] of its database.
///
/// It is not handed to the linker: name it, as in `Consumers::of([RECORDER, greet::CONSUMER])`.
pub const RECORDER: &ConsumerDef = &ConsumerDef {
    name: "daybook::testing::recorder",
    location: Location::caller(),
    event_types: &EventType::ALL,
    object_type: None,
    mode: Mode::Abort,
    run: RunFn::Slice(|tx, events| Box::pin(record(tx, events))),
};

async fn record(tx: &TeamTx, events: &[Event]) -> ConsumerResult {
    let Some(recording) = tx.extension::<Recording>() else {
        return Err("the recorder needs a Database of daybook::testing, which has a Recording".into());
    };
    recording.add(events);
    Ok(())
}

/// What a [`Database`]'s consumers saw. Clones share it.
///
/// [`RECORDER`] fills it. A consumer of a test's own may: `tx.extension::<Recording>()` then
/// [`Recording::add`]. What was seen stays, even if the transaction is rolled back.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    calls: Arc<Mutex<Vec<Vec<Event>>>>,
}

impl Recording {
    /// The recording of a database that [`TestDb`](super::TestDb) made; an empty one for any other.
    pub fn of(database: &Database) -> Self {
        database.extension::<Self>().cloned().unwrap_or_default()
    }

    /// Notes a call.
    pub fn add(&self, events: &[Event]) {
        self.lock().push(events.to_vec());
    }

    /// The events of each call, in the order of the calls.
    pub fn calls(&self) -> Vec<Vec<Event>> {
        self.lock().clone()
    }

    /// All events, in the order in which they were seen.
    pub fn events(&self) -> Vec<Event> {
        self.lock().concat()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Event>>> {
        // A list is whole after every push.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
