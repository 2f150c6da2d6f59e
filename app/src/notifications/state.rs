//! An inbox as it is now, and whose has changed: for who looks at it all the time.

use serde::Serialize;
use sqlx::Row;
use utoipa::ToSchema;
use uuid::Uuid;

use super::routes::{Notification, reader, shown};
use super::store;
use crate::error::{Error, Result};
use crate::tenancy::{Snapshot, TeamTx};

/// How many notifications a state shows.
const SHOWN: u64 = 20;

/// How many bytes of notifications a state shows, about.
const MAX_STATE_BYTES: usize = 256 * 1024;

/// An inbox as it is now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct InboxState {
    /// Counts every change of every notification in it: of two states, the higher one is the newer.
    pub version: i64,
    /// How many notifications are unread, of all.
    pub unread: i64,
    /// This state, for `PUT /notifications/read`: what arrives after it stays unread.
    pub up_to: String,
    /// The newest ones, at most 20, and fewer where they are long.
    pub items: Vec<Notification>,
}

/// The inbox of the person who acts.
///
/// # Errors
/// [`Error::Forbidden`] for an API key, which has none.
pub async fn state(tx: &TeamTx) -> Result<InboxState> {
    let person = reader(tx)?;
    // Before the items: should they be newer, the next state has a higher version and is sent, too.
    let query = sqlx::query(
        "SELECT coalesce(sum(version), 0)::bigint AS version FROM notifications WHERE team_id = $1 AND user_id = $2",
    )
    .bind(tx.team_id())
    .bind(person);
    let row = tx.fetch_optional(query).await?.ok_or_else(no_row)?;
    let mut inbox = store::inbox(tx, person, false, None, SHOWN).await?;
    inbox.rows.truncate(usize::try_from(SHOWN).map_err(Error::internal)?);
    Ok(InboxState {
        version: row.try_get("version")?,
        unread: inbox.unread,
        up_to: inbox.seen.to_string(),
        items: shown(tx, inbox.rows, MAX_STATE_BYTES)?,
    })
}

/// Whose of these people's notifications may have changed since, all of them if nobody has looked before, and
/// what is visible now. One statement.
///
/// # Errors
/// As any statement.
pub async fn changed_since(tx: &TeamTx, people: &[Uuid], since: &Option<Snapshot>) -> Result<(Vec<Uuid>, Snapshot)> {
    let everything = Snapshot::EVERYTHING;
    let looked = since.as_ref().unwrap_or(&everything);
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
    .bind(looked.next())
    .bind(looked.open())
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
