//! This layer's part of a [`Database`]: its [`Signals`].

use super::mailboxes::Signals;
use crate::error::Result;
use crate::tenancy::{Database, LayerParts};

impl Signals {
    /// Attaches the signals to a database, whose transactions publish to them from then on.
    pub fn attach(self, database: Database) -> Database {
        database.with_signal_sink(self.sink()).with_layer_parts(self)
    }

    /// Returns the signals of a database.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if it has none.
    pub fn of(database: &Database) -> Result<&Self> {
        database.layer_parts()
    }
}

impl LayerParts for Signals {
    const NAME: &'static str = "Signals";
    const ATTACHED_BY: &'static str = "App::equip";
}
