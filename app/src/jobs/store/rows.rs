//! Rows of sessions and actions: read from the database, and converted to the form that clients receive.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::Result;
use crate::jobs::outcome::Status;
use crate::jobs::sentence::{JobSentence, SentencePart};
use crate::jobs::view::{ActionView, SessionView};
use crate::json::{MAX_JSON_DEPTH, read_column};

/// A session that was read.
#[derive(Debug)]
pub(in crate::jobs) struct SessionRow {
    pub(in crate::jobs) id: Uuid,
    pub(in crate::jobs) job_name: String,
    pub(in crate::jobs) job_id: Uuid,
    pub(in crate::jobs) queue_job_id: Option<i64>,
    pub(in crate::jobs) attempt: i32,
    pub(in crate::jobs) max_attempts: i32,
    pub(in crate::jobs) status: Status,
    pub(in crate::jobs) sentence: String,
    pub(in crate::jobs) parts: Option<Vec<SentencePart>>,
    pub(in crate::jobs) input: Option<Value>,
    pub(in crate::jobs) error: Option<Value>,
    pub(in crate::jobs) correlation_id: Uuid,
    pub(in crate::jobs) causation_id: Option<Uuid>,
    pub(in crate::jobs) queued_at: Option<DateTime<Utc>>,
    pub(in crate::jobs) started_at: DateTime<Utc>,
    pub(in crate::jobs) heartbeat_at: DateTime<Utc>,
    pub(in crate::jobs) finished_at: Option<DateTime<Utc>>,
    pub(in crate::jobs) cancel_requested_at: Option<DateTime<Utc>>,
    pub(in crate::jobs) unreadable: Vec<&'static str>,
    pub(in crate::jobs) truncated: bool,
}

/// An action that was read.
#[derive(Debug)]
pub(in crate::jobs) struct ActionRow {
    pub(in crate::jobs) seq: i64,
    pub(in crate::jobs) at: DateTime<Utc>,
    pub(in crate::jobs) action_type: String,
    pub(in crate::jobs) sentence: String,
    pub(in crate::jobs) parts: Option<Vec<SentencePart>>,
    pub(in crate::jobs) payload: Value,
    pub(in crate::jobs) unreadable: Vec<&'static str>,
}

/// Reads an action from a row whose column names have this prefix.
pub(super) fn action_row(row: &PgRow, prefix: &str) -> Result<ActionRow> {
    let named = |column: &str| format!("{prefix}{column}");
    let mut unreadable = Vec::new();
    let payload = readable(row, &named("payload"), "payload", &mut unreadable)?;
    Ok(ActionRow {
        seq: row.try_get(named("seq").as_str())?,
        at: row.try_get(named("at").as_str())?,
        action_type: row.try_get(named("action_type").as_str())?,
        sentence: row.try_get(named("sentence").as_str())?,
        parts: parts(row, &named("parts"))?,
        payload: payload.unwrap_or_default(),
        unreadable,
    })
}

/// Reads a JSON column with data from outside. If it can't be read, returns a placeholder and adds the field's name to
/// `unreadable`.
fn readable(
    row: &PgRow,
    column: &str,
    field: &'static str,
    unreadable: &mut Vec<&'static str>,
) -> Result<Option<Value>> {
    Ok(match read_column(row, column, MAX_JSON_DEPTH)? {
        Ok(value) => value,
        Err(why) => {
            unreadable.push(field);
            Some(why.placeholder())
        }
    })
}

/// Reads a sentence's parts. `None` if there are none or they can't be read: the sentence is then one part.
fn parts(row: &PgRow, column: &str) -> Result<Option<Vec<SentencePart>>> {
    let parts = read_column(row, column, MAX_JSON_DEPTH)?.ok().flatten();
    Ok(parts.and_then(|parts| serde_json::from_value(parts).ok()))
}

pub(super) fn session_row(row: &PgRow) -> Result<SessionRow> {
    let mut unreadable = Vec::new();
    Ok(SessionRow {
        id: row.try_get("id")?,
        job_name: row.try_get("job_name")?,
        job_id: row.try_get("job_id")?,
        queue_job_id: row.try_get("queue_job_id")?,
        attempt: row.try_get("attempt")?,
        max_attempts: row.try_get("max_attempts")?,
        status: row.try_get::<&str, _>("status")?.parse()?,
        sentence: row.try_get("sentence")?,
        parts: parts(row, "parts")?,
        input: readable(row, "input", "input", &mut unreadable)?,
        error: readable(row, "error", "error", &mut unreadable)?,
        correlation_id: row.try_get("correlation_id")?,
        causation_id: row.try_get("causation_id")?,
        queued_at: row.try_get("queued_at")?,
        started_at: row.try_get("started_at")?,
        heartbeat_at: row.try_get("heartbeat_at")?,
        finished_at: row.try_get("finished_at")?,
        cancel_requested_at: row.try_get("cancel_requested_at")?,
        unreadable,
        truncated: row.try_get("truncated")?,
    })
}

impl From<SessionRow> for SessionView {
    fn from(row: SessionRow) -> Self {
        let between = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).num_milliseconds();
        Self {
            queue_delay_ms: row.queued_at.map(|queued_at| between(queued_at, row.started_at)),
            run_time_ms: row.finished_at.map(|finished_at| between(row.started_at, finished_at)),
            id: row.id,
            job_name: row.job_name,
            job_id: row.job_id,
            queue_job_id: row.queue_job_id,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            status: row.status,
            parts: row.parts.unwrap_or_else(|| JobSentence::whole(&row.sentence)),
            sentence: row.sentence,
            input: row.input,
            error: row.error,
            truncated: row.truncated,
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            queued_at: row.queued_at,
            started_at: row.started_at,
            heartbeat_at: row.heartbeat_at,
            finished_at: row.finished_at,
            cancel_requested_at: row.cancel_requested_at,
            unreadable: row.unreadable,
        }
    }
}

impl From<ActionRow> for ActionView {
    fn from(row: ActionRow) -> Self {
        Self {
            seq: row.seq,
            at: row.at,
            kind: row.action_type,
            parts: row.parts.unwrap_or_else(|| JobSentence::whole(&row.sentence)),
            sentence: row.sentence,
            payload: row.payload,
            unreadable: row.unreadable,
        }
    }
}
