//! The current state of an inbox, and the people whose inbox has changed. Used by live.

use serde::Serialize;
use sqlx::Row;
use utoipa::ToSchema;
use uuid::Uuid;

use super::routes::{Notification, reader, render_within};
use super::store;
use crate::error::{Error, Result};
use crate::tenancy::{Snapshot, TeamTx};

/// The maximum number of notifications in a state.
const MAX_STATE_ITEMS: u64 = 20;

/// The approximate maximum size of the notifications in a state.
const MAX_STATE_BYTES: usize = 256 * 1024;

/// The current state of an inbox.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct InboxState {
    /// The number of all changes of its notifications. Of two states, the one with the higher version is newer.
    pub version: i64,
    /// The number of all unread notifications.
    pub unread: i64,
    /// An id of this state, for `PUT /notifications/read`. Messages that arrive after it stay unread.
    pub up_to: String,
    /// The newest notifications: at most 20, and fewer if they are long.
    pub items: Vec<Notification>,
}

/// Returns the inbox of the current person.
///
/// # Errors
/// [`Error::Forbidden`] for an API key, which has no inbox.
pub async fn state(tx: &TeamTx) -> Result<InboxState> {
    let person = reader(tx)?;
    // Read before the items. If the items are newer, the next state has a higher version and is sent, too.
    let query = sqlx::query(
        "SELECT coalesce(sum(version), 0)::bigint AS version FROM notifications WHERE team_id = $1 AND user_id = $2",
    )
    .bind(tx.team_id())
    .bind(person);
    let row = tx.fetch_optional(query).await?.ok_or_else(no_row)?;
    let mut inbox = store::inbox(tx, person, false, None, MAX_STATE_ITEMS).await?;
    inbox
        .rows
        .truncate(usize::try_from(MAX_STATE_ITEMS).map_err(Error::internal)?);
    Ok(InboxState {
        version: row.try_get("version")?,
        unread: inbox.unread,
        up_to: inbox.seen.to_string(),
        items: render_within(tx, inbox.rows, MAX_STATE_BYTES)?,
    })
}

/// Returns those of the given people whose notifications may have changed since a snapshot (all of them without one),
/// and the current snapshot. Sends one statement.
///
/// # Errors
/// Those of any database statement.
pub async fn changed_since(tx: &TeamTx, people: &[Uuid], since: &Option<Snapshot>) -> Result<(Vec<Uuid>, Snapshot)> {
    let everything = Snapshot::EVERYTHING;
    let snapshot = since.as_ref().unwrap_or(&everything);
    let query = sqlx::query(
        "SELECT pg_current_snapshot()::text AS snapshot, ARRAY (
             SELECT user_id FROM notifications
             WHERE team_id = $1 AND transaction_id >= $2 AND user_id = ANY ($4)
                 -- No program writes the number of a transaction that has not begun.
                 AND transaction_id < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
             UNION
             SELECT user_id FROM notifications
             WHERE team_id = $1 AND transaction_id = ANY ($3) AND user_id = ANY ($4)
         ) AS changed",
    )
    .bind(tx.team_id())
    .bind(snapshot.next())
    .bind(snapshot.open())
    .bind(people);
    let row = tx.fetch_optional(query).await?.ok_or_else(no_row)?;
    let now = row.try_get::<&str, _>("snapshot")?.parse().map_err(Error::internal)?;
    match since {
        Some(_) => Ok((row.try_get("changed")?, now)),
        None => Ok((people.to_vec(), now)),
    }
}

fn no_row() -> Error {
    Error::internal("a query without a table returned no row")
}
