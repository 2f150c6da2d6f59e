//! Reads the sessions of one story.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::rows::{action_row, session_row};
use crate::error::Result;
use crate::jobs::view::{ActionView, SessionView};
use crate::json::count_unreadable_reads;
use crate::tenancy::TeamTx;

/// Maximum number of actions of each session in a story.
const MAX_ACTIONS_PER_SESSION: i64 = 50;

/// Maximum size of the sessions that are read for a story, in bytes. The same limit applies to their actions.
const MAX_BYTES: i64 = 2 << 20;

/// A session of a story.
#[derive(Debug)]
pub struct StorySession {
    /// The session, without its input.
    pub session: SessionView,
    /// Its first actions, with long values cut. If a story has more bytes of actions than are read, its last sessions
    /// have none.
    pub actions: Vec<ActionView>,
    /// The session whose work enqueued it.
    pub requested_by: Option<Uuid>,
}

/// Returns the sessions of a story, oldest first, without inputs, each with its first actions in order. The flag is
/// true if sessions or actions were left out because of the maximum size. It does not show that there are more sessions
/// than `limit`.
///
/// # Errors
/// Those of any database statement.
pub async fn of_story(tx: &TeamTx, correlation_id: Uuid, limit: i64) -> Result<(Vec<StorySession>, bool)> {
    // The queries sum up bytes in the order of the answer, so that rows beyond the limit are neither sent nor kept in
    // memory.
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
    let mut truncated = has_more(&rows)?;
    let mut sessions: Vec<StorySession> = Vec::with_capacity(rows.len());
    for row in &rows {
        sessions.push(StorySession {
            session: session_row(row)?.into(),
            actions: Vec::new(),
            requested_by: requested_by(row)?,
        });
    }
    let ids: Vec<Uuid> = sessions.iter().map(|story_session| story_session.session.id).collect();
    let places: HashMap<Uuid, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let query = sqlx::query(include_str!("story_actions.sql"));
    let rows = tx
        .fetch_all(
            query
                .bind(tx.team_id())
                .bind(&ids)
                .bind(MAX_ACTIONS_PER_SESSION)
                .bind(MAX_BYTES),
        )
        .await?;
    truncated |= has_more(&rows)?;
    for row in rows {
        let session_id: Uuid = row.try_get("session_id")?;
        if let Some(session) = places.get(&session_id).and_then(|place| sessions.get_mut(*place)) {
            session.actions.push(action_row(&row, "")?.into());
        }
    }
    Ok((sessions, truncated))
}

/// Returns the session that enqueued this one, from its context. If SQL has written something other than an id, this
/// returns `None` and counts an unreadable value.
fn requested_by(row: &PgRow) -> Result<Option<Uuid>> {
    let Some(id) = row.try_get::<Option<&str>, _>("asked_by")? else {
        return Ok(None);
    };
    let id = Uuid::try_parse(id).ok();
    if id.is_none() {
        count_unreadable_reads(1);
    }
    Ok(id)
}

/// Returns whether rows were left out because of the maximum size.
fn has_more(rows: &[PgRow]) -> Result<bool> {
    let found = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>("found"))?;
    Ok(usize::try_from(found).is_ok_and(|found| found > rows.len()))
}
