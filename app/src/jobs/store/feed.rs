//! Reads what has changed in a team's sessions.

use sqlx::Row as _;

use super::rows::{ActionRow, action_row, session_row};
use crate::error::{Error, Result};
use crate::jobs::view::{ActionView, SessionView};
use crate::tenancy::{FeedPosition, FeedWindow, Snapshot, TeamTx, from_window};

/// A page of changes in a team's sessions.
#[derive(Debug)]
pub struct SessionFeedPage {
    /// The sessions in their current state, without inputs, each with its new actions in order.
    pub sessions: Vec<(SessionView, Vec<ActionView>)>,
    /// The number of rows that were read.
    pub read: usize,
    /// The position of the last row.
    pub last: Option<FeedPosition>,
    /// The current snapshot.
    pub now: Snapshot,
}

/// Reads the next sessions that changed in a window, and their new actions, at most `limit` rows. One statement reads
/// all of it, so that it is the state at one time.
///
/// # Errors
/// Those of any database statement.
pub async fn feed(tx: &TeamTx, window: &FeedWindow, limit: i64) -> Result<SessionFeedPage> {
    let query = sqlx::query(concat!(
        "SELECT now.snapshot, m.transaction_id AS m_transaction_id, m.session_id AS m_session_id, m.seq AS m_seq,
            s.id, s.job_name, s.job_id, s.queue_job_id, s.attempt, s.max_attempts, s.status, s.sentence, s.parts,
            NULL::jsonb AS input, daybook_short_json(s.error) AS error,
            daybook_short_json(s.error) IS DISTINCT FROM s.error AS truncated, s.correlation_id, s.causation_id, s.queued_at, s.started_at, s.heartbeat_at,
            s.finished_at, s.cancel_requested_at,
            a.seq AS a_seq, a.at AS a_at, a.action_type AS a_action_type, a.sentence AS a_sentence, a.parts AS a_parts,
            a.payload AS a_payload",
        from_window!(
            (
                "job_sessions",
                "transaction_id, id AS session_id, 0::bigint AS seq",
                "transaction_id, id, 0::bigint"
            ),
            (
                "job_actions",
                "transaction_id, session_id, seq",
                "transaction_id, session_id, seq"
            )
        ),
        "LEFT JOIN job_sessions s ON s.team_id = $1 AND s.id = m.session_id
         LEFT JOIN job_actions a ON a.team_id = $1 AND a.session_id = m.session_id AND a.seq = m.seq
         ORDER BY m.transaction_id, m.session_id, m.seq",
    ));
    let rows = tx.fetch_all(window.bind(query, tx.team_id(), limit)).await?;
    let first = rows
        .first()
        .ok_or_else(|| Error::internal("the query returned no snapshot"))?;
    let mut page = SessionFeedPage {
        sessions: Vec::new(),
        read: 0,
        last: None,
        now: first.try_get::<&str, _>("snapshot")?.parse().map_err(Error::internal)?,
    };
    for row in &rows {
        let Some(transaction_id) = row.try_get::<Option<i64>, _>("m_transaction_id")? else {
            continue;
        };
        page.read += 1;
        page.last = Some(FeedPosition {
            transaction_id,
            id: row.try_get("m_session_id")?,
            seq: row.try_get("m_seq")?,
        });
        let session: SessionView = session_row(row)?.into();
        let known = page.sessions.iter().position(|(known, _)| known.id == session.id);
        let actions = match known {
            Some(at) => &mut page.sessions[at].1,
            None => {
                page.sessions.push((session, Vec::new()));
                let at = page.sessions.len() - 1;
                &mut page.sessions[at].1
            }
        };
        if row.try_get::<Option<i64>, _>("a_seq")?.is_some() {
            let action: ActionRow = action_row(row, "a_")?;
            actions.push(action.into());
        }
    }
    for (_, actions) in &mut page.sessions {
        actions.sort_by_key(|action| action.seq);
    }
    Ok(page)
}
