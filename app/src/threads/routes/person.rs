//! Requires a person: an API key has no follows, mutes, read marks or watches.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::tenancy::TeamTx;

/// Returns the id of the current person.
///
/// # Errors
/// [`Error::Forbidden`] for an API key.
pub(super) fn person(tx: &TeamTx) -> Result<Uuid> {
    tx.context().person_id().ok_or_else(|| Error::Forbidden {
        detail: "only a person can follow, mute, read or watch; use a person's token, not an API key".to_owned(),
    })
}
