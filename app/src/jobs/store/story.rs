//! The sessions of one story.

use std::collections::HashMap;

use uuid::Uuid;

use super::{action_row, session_row};
use crate::error::Result;
use crate::jobs::view::{ActionView, SessionView};
use crate::tenancy::TeamTx;

/// How many actions of each session are told.
const ACTIONS: i64 = 50;

/// A session of a story.
#[derive(Debug)]
pub struct ToldSession {
    /// Without its input.
    pub session: SessionView,
    /// Its first actions.
    pub actions: Vec<ActionView>,
    /// The session whose work asked for it.
    pub asked_by: Option<Uuid>,
}

/// The sessions of a story, oldest first, without their inputs, each with its first actions in order.
///
/// # Errors
/// As any statement.
pub async fn of_story(tx: &TeamTx, correlation_id: Uuid, limit: i64) -> Result<Vec<ToldSession>> {
    let query = sqlx::query(
        "SELECT id, job_name, job_id, queue_job_id, attempt, max_attempts, status, sentence, parts, NULL::jsonb AS input,
            error, correlation_id, causation_id, queued_at, started_at, heartbeat_at, finished_at, cancel_requested_at,
            CASE WHEN context #>> '{actor,kind}' = 'job' THEN (context #>> '{actor,id}')::uuid END AS asked_by
         FROM job_sessions WHERE team_id = $1 AND correlation_id = $2 ORDER BY id LIMIT $3",
    );
    let rows = tx
        .fetch_all(query.bind(tx.team_id()).bind(correlation_id).bind(limit))
        .await?;
    let mut sessions: Vec<ToldSession> = Vec::with_capacity(rows.len());
    for row in &rows {
        sessions.push(ToldSession {
            session: session_row(row)?.into(),
            actions: Vec::new(),
            asked_by: sqlx::Row::try_get(row, "asked_by")?,
        });
    }
    let ids: Vec<Uuid> = sessions.iter().map(|told| told.session.id).collect();
    let places: HashMap<Uuid, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let query = sqlx::query(
        "SELECT a.session_id, a.seq, a.at, a.action_type, a.sentence, a.parts, a.payload
         FROM unnest($2::uuid[]) AS s (id)
         CROSS JOIN LATERAL (
            SELECT session_id, seq, at, action_type, sentence, parts, payload FROM job_actions
            WHERE team_id = $1 AND session_id = s.id ORDER BY seq LIMIT $3
         ) a ORDER BY a.session_id, a.seq",
    );
    for row in tx.fetch_all(query.bind(tx.team_id()).bind(&ids).bind(ACTIONS)).await? {
        let session_id: Uuid = sqlx::Row::try_get(&row, "session_id")?;
        if let Some(told) = places.get(&session_id).and_then(|place| sessions.get_mut(*place)) {
            told.actions.push(action_row(&row, "")?.into());
        }
    }
    Ok(sessions)
}
