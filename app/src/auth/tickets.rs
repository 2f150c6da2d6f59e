//! Tickets: credentials for opening a socket or an event stream from a browser. A browser can't set headers there, and
//! should not put its token into a URL. A ticket belongs to its requester and has one purpose. It opens one socket,
//! once, within 30 seconds. Or it reads one run's log, any number of times, for at most half a day.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng as _;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::tenancy::{Context, Database, TeamTx};

/// Validity of a ticket for a socket, by the database's clock.
const TICKET_LIFETIME: TimeDelta = TimeDelta::seconds(30);
/// Validity of a ticket for a run, by the database's clock.
const RUN_TICKET_LIFETIME: TimeDelta = TimeDelta::hours(12);
const SECRET_BYTES: usize = 32;
/// The prefix of every ticket, so that redaction recognises a ticket in any field.
const SCHEME: &str = "dbt_";

/// A ticket as it is returned to its requester, once.
pub(crate) struct Ticket {
    pub(crate) ticket: String,
    pub(crate) expires_at: DateTime<Utc>,
}

/// The owner of a ticket.
pub(crate) struct TicketOwner {
    pub(crate) context: Context,
    /// When the credential expires with which the ticket was requested.
    pub(crate) credential_expires_at: Option<DateTime<Utc>>,
}

/// Creates a ticket for the actor, for a socket or for reading a run, and deletes the team's old tickets.
///
/// # Errors
/// Those of any database statement.
pub(crate) async fn issue(
    tx: &TeamTx,
    credential_expires_at: Option<DateTime<Utc>>,
    run_id: Option<Uuid>,
) -> Result<Ticket> {
    let secret = URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; SECRET_BYTES]>());
    let ticket = format!("{SCHEME}{secret}");
    let lifetime = if run_id.is_some() {
        RUN_TICKET_LIFETIME
    } else {
        TICKET_LIFETIME
    };
    let query = sqlx::query(
        "WITH old AS (DELETE FROM ws_tickets WHERE team_id = $1 AND expires_at < now())
         INSERT INTO ws_tickets (team_id, ticket_sha256, context, credential_expires_at, expires_at, run_id)
         VALUES ($1, $2, $3, $4, least(now() + $5, $4), $6) RETURNING expires_at",
    )
    .bind(tx.team_id())
    .bind(sha256(&ticket))
    .bind(serde_json::to_value(tx.context()).map_err(Error::internal)?)
    .bind(credential_expires_at)
    .bind(lifetime)
    .bind(run_id);
    let row = tx
        .fetch_optional(query)
        .await?
        .ok_or_else(|| Error::internal("the INSERT of a ticket returned no row"))?;
    Ok(Ticket {
        ticket,
        expires_at: row.try_get("expires_at")?,
    })
}

/// Redeems a ticket: it is deleted, even if the request fails later.
///
/// # Errors
/// [`Error::Unauthenticated`] if the ticket doesn't exist, was used, or is too old, with the same text for all.
pub(crate) async fn redeem(database: &Database, team_id: Uuid, ticket: &str) -> Result<TicketOwner> {
    let tx = database.begin(&Context::system(team_id, "live")).await?;
    let query = sqlx::query(
        "DELETE FROM ws_tickets WHERE team_id = $1 AND ticket_sha256 = $2 AND run_id IS NULL
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
                "the ticket is not valid: it opens one socket, within 30 s; request another one",
            ));
        }
    };
    ticket_owner(&row)
}

/// Checks a ticket for reading a run.
///
/// # Errors
/// [`Error::Unauthenticated`] if the ticket doesn't exist, is for another run, or is too old, with the same text for
/// all.
pub(crate) async fn check_for_run(
    database: &Database,
    team_id: Uuid,
    run_id: Uuid,
    ticket: &str,
) -> Result<TicketOwner> {
    let tx = database.read(&Context::system(team_id, "run logs")).await?;
    let query = sqlx::query(
        "SELECT context, credential_expires_at FROM ws_tickets
         WHERE team_id = $1 AND ticket_sha256 = $2 AND run_id = $3 AND expires_at > now()",
    );
    let row = tx
        .fetch_optional(query.bind(team_id).bind(sha256(ticket)).bind(run_id))
        .await?;
    tx.commit().await?;
    let row = row.ok_or_else(|| {
        Error::unauthenticated(
            "the ticket is not valid: it reads one run's log, for half a day at most; request another one",
        )
    })?;
    ticket_owner(&row)
}

fn ticket_owner(row: &PgRow) -> Result<TicketOwner> {
    Ok(TicketOwner {
        context: serde_json::from_value(row.try_get("context")?).map_err(Error::internal)?,
        credential_expires_at: row.try_get("credential_expires_at")?,
    })
}

fn sha256(ticket: &str) -> Vec<u8> {
    Sha256::digest(ticket.as_bytes()).to_vec()
}
