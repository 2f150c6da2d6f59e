//! This slice's part of a [`Database`]: the log registry of a process that serves.

use super::Runs;
use crate::error::{Error, Result};
use crate::tenancy::{Database, LayerParts};

impl Runs {
    /// Attaches the log registry to the database of its process.
    pub fn attach(self, database: Database) -> Database {
        database.with_layer_parts(self)
    }

    /// Returns the log registry of the process that this database belongs to.
    ///
    /// # Errors
    /// [`Error::Unavailable`] in a process that keeps no run logs, because another process may keep them.
    pub(crate) fn of(database: &Database) -> Result<&Self> {
        database.layer_parts().map_err(|missing| Error::Unavailable {
            detail: "this process keeps no run logs".into(),
            source: Some(missing.into()),
        })
    }
}

impl LayerParts for Runs {
    const NAME: &'static str = "Runs";
    const ATTACHED_BY: &'static str = "a process that serves";
}
