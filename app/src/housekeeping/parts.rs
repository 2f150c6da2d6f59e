//! This slice's part of a [`Database`]: its [`Retention`].

use super::Retention;
use crate::error::Result;
use crate::tenancy::{Database, LayerParts};

impl Retention {
    /// Attaches the retention to a database.
    pub fn attach(self, database: Database) -> Database {
        database.with_layer_parts(self)
    }

    /// Returns the retention of a database.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if it has none.
    pub fn of(database: &Database) -> Result<&Self> {
        database.layer_parts()
    }
}

impl LayerParts for Retention {
    const NAME: &'static str = "Retention";
    const ATTACHED_BY: &'static str = "App::equip";
}
