//! The parts of this layer that a [`Database`] carries.

use super::access::AccessEpochs;
use crate::error::Result;
use crate::tenancy::{Database, LayerParts};

/// State that the credential checks keep between requests. `App::equip` attaches it.
#[derive(Debug, Clone, Default)]
pub struct AuthParts {
    /// Counts the changes of access to teams.
    pub access: AccessEpochs,
}

impl AuthParts {
    /// Attaches the parts to a database.
    pub fn attach(self, database: Database) -> Database {
        database.with_layer_parts(self)
    }

    /// Returns the parts of a database.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if the database has none.
    pub fn of(database: &Database) -> Result<&Self> {
        database.layer_parts()
    }
}

impl LayerParts for AuthParts {
    const NAME: &'static str = "AuthParts";
    const ATTACHED_BY: &'static str = "App::equip";
}
