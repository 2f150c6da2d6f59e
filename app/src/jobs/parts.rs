//! The parts of this slice that a [`Database`] carries.

use super::heartbeat::Heartbeat;
use super::notifier::Notifier;
use super::queue_state::LastQueueState;
use super::registry::Jobs;
use crate::error::Result;
use crate::tenancy::{Database, LayerParts, TeamTx};
use crate::wide_events::WideEvents;

/// What a program and its process provide for enqueuing and running jobs. `App::equip` attaches it. The default is for
/// a database without an App: no job is registered, and sessions write no wide events.
#[derive(Debug, Clone, Default)]
pub struct JobsParts {
    /// The registered jobs.
    pub jobs: Jobs,
    /// Wakes the relay and the workers of this process, and passes on requests to cancel sessions.
    pub notifier: Notifier,
    /// The heartbeat interval of sessions. A process that serves or works derives it from its `lost_after`.
    pub heartbeat: Heartbeat,
    /// The state of the queue that the workers of this process read last. It stays empty in a process without workers.
    pub last_queue_state: LastQueueState,
    /// Writes the wide events of this process. Each session is one of them. `None` in a process that writes none: in a
    /// command other than `serve` and `dev`, and in tests.
    pub wide_events: Option<WideEvents>,
}

impl JobsParts {
    /// Creates the parts of a program with these jobs, in a process that writes no wide events.
    pub fn new(jobs: Jobs) -> Self {
        Self {
            jobs,
            ..Self::default()
        }
    }

    /// Attaches the parts to a database.
    pub fn attach(self, database: Database) -> Database {
        database.with_layer_parts(self)
    }

    /// Changes the parts of a database. A process that serves or works thus adds what only it has.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if it has none.
    pub fn update(database: Database, change: impl FnOnce(&mut Self)) -> Result<Database> {
        let mut parts = Self::of(&database)?.clone();
        change(&mut parts);
        Ok(parts.attach(database))
    }

    /// Returns the parts of a database.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if it has none.
    pub fn of(database: &Database) -> Result<&Self> {
        database.layer_parts()
    }

    /// Returns the parts of a transaction's database.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if it has none.
    pub fn of_tx(tx: &TeamTx) -> Result<&Self> {
        tx.layer_parts()
    }
}

impl LayerParts for JobsParts {
    const NAME: &'static str = "JobsParts";
    const ATTACHED_BY: &'static str = "App::equip, or JobsParts::attach for a database without an App,";
}
