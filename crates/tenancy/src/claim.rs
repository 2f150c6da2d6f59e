//! An `Idempotency-Key` as transactions see it: the first writing transaction of a request claims it, and commits the
//! claim with the request's work.
//!
//! The layer that makes the claim stores the outcome of the work with it. Only that layer knows what an outcome is;
//! here it is opaque.

use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::{AssertSqlSafe, Row as _, pool::PoolConnection};
use uuid::Uuid;

use crate::error::{Error, Result, StoredOutcome};

/// An `Idempotency-Key`. The first writing transaction of a request claims it and commits the claim.
#[derive(Debug, Clone)]
pub struct Claim {
    key: String,
    request_sha256: [u8; 32],
    outcome: Option<OutcomeColumns>,
    holder: Arc<Mutex<Option<String>>>,
}

/// Where the outcome of claimed work is in the key's row, and how it is read.
#[derive(Debug, Clone, Copy)]
pub struct OutcomeColumns {
    /// The columns of `idempotency_keys`, as in the list of a SELECT.
    pub names: &'static str,
    /// Reads the outcome from a row with these columns. Returns `None` if it isn't stored yet.
    pub read: fn(&PgRow) -> Result<Option<StoredOutcome>>,
}

impl Claim {
    /// Creates a claim for a key and the hash of its request. Without [`Claim::with_outcome`], the outcome of a
    /// repeated request is unknown.
    pub fn new(key: String, request_sha256: [u8; 32]) -> Self {
        Self {
            key,
            request_sha256,
            outcome: None,
            holder: Arc::default(),
        }
    }

    /// Sets where the outcome of the work is stored.
    #[must_use]
    pub fn with_outcome(mut self, columns: OutcomeColumns) -> Self {
        self.outcome = Some(columns);
        self
    }

    /// Returns the key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the actor in the key's row while a transaction of this request has claimed it, and after such a
    /// transaction has committed. Returns `None` before that, and after a rollback.
    pub fn holder(&self) -> Option<String> {
        self.holder.lock().clone()
    }

    pub(super) fn set_holder(&self, holder: Option<String>) {
        *self.holder.lock() = holder;
    }

    pub(super) fn request_sha256(&self) -> &[u8; 32] {
        &self.request_sha256
    }
}

/// Reads the stored outcome of the earlier request with this key, or `None` while it isn't stored yet.
///
/// # Errors
/// [`Error::Invalid`] if the key was used with another request, and those of any database statement.
pub(super) async fn stored_outcome(
    connection: &mut PoolConnection<Postgres>,
    team_id: Uuid,
    actor: &str,
    claim: &Claim,
    persistent: bool,
) -> Result<Option<StoredOutcome>> {
    let columns = claim
        .outcome
        .map_or_else(String::new, |outcome| format!(", {}", outcome.names));
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT request_sha256{columns} FROM idempotency_keys
         WHERE team_id = $1 AND actor = $2 AND key = $3"
    )))
    .bind(team_id)
    .bind(actor)
    .bind(&claim.key)
    .persistent(persistent)
    .fetch_optional(&mut **connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<Vec<u8>, _>("request_sha256")? != claim.request_sha256 {
        return Err(Error::invalid(
            "Idempotency-Key",
            "was used before with another request; use a new key",
        ));
    }
    match claim.outcome {
        Some(outcome) => (outcome.read)(&row),
        None => Ok(None),
    }
}
