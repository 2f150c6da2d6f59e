//! Tickets: what a browser opens a socket with, since it can't set headers there, and its token shouldn't be in
//! an address. A ticket opens one socket, once, within half a minute, for whoever asked for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng as _;
use sha2::{Digest, Sha256};
use sqlx::Row;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::tenancy::{Context, Database, TeamTx};

/// How long a ticket holds, by the database's clock.
const HOLDS: TimeDelta = TimeDelta::seconds(30);
const SECRET_BYTES: usize = 32;

/// A ticket as its owner gets it, once.
pub(super) struct Ticket {
    pub(super) ticket: String,
    pub(super) expires_at: DateTime<Utc>,
}

/// Who has come with a ticket.
pub(super) struct Ticketed {
    pub(super) context: Context,
    /// When the credential ends that the ticket was asked for with.
    pub(super) credential_expires_at: Option<DateTime<Utc>>,
}

/// Makes a ticket for whoever acts, and clears the team's old ones away.
///
/// # Errors
/// As any statement.
pub(super) async fn issue(tx: &TeamTx, credential_expires_at: Option<DateTime<Utc>>) -> Result<Ticket> {
    let ticket = URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; SECRET_BYTES]>());
    let query = sqlx::query(
        "WITH old AS (DELETE FROM ws_tickets WHERE team_id = $1 AND expires_at < now())
         INSERT INTO ws_tickets (team_id, ticket_sha256, context, credential_expires_at, expires_at)
         VALUES ($1, $2, $3, $4, now() + $5) RETURNING expires_at",
    )
    .bind(tx.team_id())
    .bind(sha256(&ticket))
    .bind(serde_json::to_value(tx.context()).map_err(Error::internal)?)
    .bind(credential_expires_at)
    .bind(HOLDS);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("an INSERT returned no row"))?;
    Ok(Ticket {
        ticket,
        expires_at: row.try_get("expires_at")?,
    })
}

/// Takes a ticket in: it is gone afterwards, whatever comes of it.
///
/// # Errors
/// [`Error::Unauthenticated`] for one that isn't there, was used, or is too old: the same words for all.
pub(super) async fn redeem(database: &Database, team_id: Uuid, ticket: &str) -> Result<Ticketed> {
    let tx = database.begin(&Context::system(team_id, "live")).await?;
    let query = sqlx::query(
        "DELETE FROM ws_tickets WHERE team_id = $1 AND ticket_sha256 = $2
         RETURNING context, credential_expires_at, expires_at > now() AS holds",
    )
    .bind(team_id)
    .bind(sha256(ticket));
    let row = tx.fetch_optional(query).await?;
    tx.commit().await?;
    let row = match row {
        Some(row) if row.try_get("holds")? => row,
        _ => {
            return Err(Error::unauthenticated(
                "the ticket does not hold: it opens one socket, within 30 s; ask for another one",
            ));
        }
    };
    Ok(Ticketed {
        context: serde_json::from_value(row.try_get("context")?).map_err(Error::internal)?,
        credential_expires_at: row.try_get("credential_expires_at")?,
    })
}

fn sha256(ticket: &str) -> Vec<u8> {
    Sha256::digest(ticket.as_bytes()).to_vec()
}
