//! The parts of this layer that a [`Database`] carries.

use super::consumers::Consumers;
use super::isolated_failures::IsolatedFailures;
use super::sentences::Sentences;
use daybook_tenancy::error::Result;
use daybook_tenancy::{Database, LayerParts, TeamTx};

/// What recording and reading events needs of a program. `App::equip` attaches it.
#[derive(Debug, Clone)]
pub struct EventsParts {
    /// The consumers that receive recorded events.
    pub consumers: Consumers,
    /// The models' sentences.
    pub sentences: Sentences,
    /// What happens after the failure of an isolated consumer was stored.
    pub isolated_failures: IsolatedFailures,
}

impl EventsParts {
    /// Creates the parts of a database without an App: these consumers, sentences without models, and failures that are
    /// stored and not retried.
    pub fn new(consumers: Consumers) -> Self {
        Self {
            consumers,
            sentences: Sentences::default(),
            isolated_failures: IsolatedFailures::Keep,
        }
    }

    /// Attaches the parts to a database.
    pub fn attach(self, database: Database) -> Database {
        database.with_layer_parts(self)
    }

    /// Returns the parts of a database.
    ///
    /// # Errors
    /// [`Error::Internal`](daybook_tenancy::Error::Internal) if it has none.
    pub fn of(database: &Database) -> Result<&Self> {
        database.layer_parts()
    }

    /// Returns the parts of a transaction's database.
    ///
    /// # Errors
    /// [`Error::Internal`](daybook_tenancy::Error::Internal) if it has none.
    pub fn of_tx(tx: &TeamTx) -> Result<&Self> {
        tx.layer_parts()
    }
}

impl LayerParts for EventsParts {
    const NAME: &'static str = "EventsParts";
    const ATTACHED_BY: &'static str = "App::equip, or EventsParts::attach for a database without an App,";
}
