//! The sessions of one story.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{action_row, session_row};
use crate::error::Result;
use crate::jobs::view::{ActionView, SessionView};
use crate::json::count_unreadable_reads;
use crate::tenancy::TeamTx;

/// How many actions of each session are told.
const ACTIONS: i64 = 50;

/// How many bytes of sessions, and how many of their actions, are read for a story.
const MAX_BYTES: i64 = 2 << 20;

/// A session of a story.
#[derive(Debug)]
pub struct ToldSession {
    /// Without its input.
    pub session: SessionView,
    /// Its first actions; none of the last sessions of a story whose actions are long.
    pub actions: Vec<ActionView>,
    /// The session whose work asked for it.
    pub asked_by: Option<Uuid>,
}

/// The sessions of a story, oldest first, without their inputs, each with its first actions in order. True: there are
/// more of them, or of their actions, than fit in a story.
///
/// # Errors
/// As any statement.
pub async fn of_story(tx: &TeamTx, correlation_id: Uuid, limit: i64) -> Result<(Vec<ToldSession>, bool)> {
    // Sums in the order of the answer, so that what is beyond them is neither sent nor held here.
    let query = sqlx::query(include_str!("story_sessions.sql"));
    let rows = tx
        .fetch_all(
            query
                .bind(tx.team_id())
                .bind(correlation_id)
                .bind(limit)
                .bind(MAX_BYTES),
        )
        .await?;
    let mut truncated = more(&rows)?;
    let mut sessions: Vec<ToldSession> = Vec::with_capacity(rows.len());
    for row in &rows {
        sessions.push(ToldSession {
            session: session_row(row)?.into(),
            actions: Vec::new(),
            asked_by: asked_by(row)?,
        });
    }
    let ids: Vec<Uuid> = sessions.iter().map(|told| told.session.id).collect();
    let places: HashMap<Uuid, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let query = sqlx::query(include_str!("story_actions.sql"));
    let rows = tx
        .fetch_all(query.bind(tx.team_id()).bind(&ids).bind(ACTIONS).bind(MAX_BYTES))
        .await?;
    truncated |= more(&rows)?;
    for row in rows {
        let session_id: Uuid = row.try_get("session_id")?;
        if let Some(told) = places.get(&session_id).and_then(|place| sessions.get_mut(*place)) {
            told.actions.push(action_row(&row, "")?.into());
        }
    }
    Ok((sessions, truncated))
}

/// The session that asked for this one, from its context. None, and counted as unreadable, where SQL has written
/// something else than an id.
fn asked_by(row: &PgRow) -> Result<Option<Uuid>> {
    let Some(id) = row.try_get::<Option<&str>, _>("asked_by")? else {
        return Ok(None);
    };
    let id = Uuid::try_parse(id).ok();
    if id.is_none() {
        count_unreadable_reads(1);
    }
    Ok(id)
}

/// Whether more rows were found than fit.
fn more(rows: &[PgRow]) -> Result<bool> {
    let found = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>("found"))?;
    Ok(usize::try_from(found).is_ok_and(|found| found > rows.len()))
}
