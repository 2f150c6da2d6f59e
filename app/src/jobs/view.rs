//! Sessions and actions as clients see them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::outcome::Status;
use super::sentence::{Sentence, SentencePart};
use super::store::{ActionRow, SessionRow};

/// What the system did in the background, once.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = JobSession)]
pub struct SessionView {
    /// Its id.
    pub id: Uuid,
    /// Which job.
    pub job_name: String,
    /// The job: all its attempts have the same.
    pub job_id: Uuid,
    /// The queue's id of the job, if it came from the queue.
    pub queue_job_id: Option<i64>,
    /// Which attempt, from 1 on.
    pub attempt: i32,
    /// How many attempts there are before it is given up.
    pub max_attempts: i32,
    /// How it stands.
    pub status: Status,
    /// What it does, in words.
    pub sentence: String,
    /// The same words in pieces.
    pub parts: Vec<SentencePart>,
    /// What it was given. Left out of live frames and stories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// What it failed with: `type`, `message`, `causes`.
    pub error: Option<Value>,
    /// True: the input or the error is long, and its values are cut here; the session by itself has all of it.
    pub truncated: bool,
    /// The story it belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it, if one did.
    pub causation_id: Option<Uuid>,
    /// Since when it was due in the queue.
    pub queued_at: Option<DateTime<Utc>>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When its worker last said that it lives.
    pub heartbeat_at: DateTime<Utc>,
    /// When it ended; null while it runs.
    pub finished_at: Option<DateTime<Utc>>,
    /// When somebody asked for its end.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// The fields among `input` and `error` that can't be read; they hold `{"unreadable": {"reason": …}}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<&'static str>,
    /// How long it waited in the queue after it was due.
    pub queue_delay_ms: Option<i64>,
    /// How long it ran; null while it runs.
    pub run_time_ms: Option<i64>,
}

/// One thing that a session did.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = JobAction)]
pub struct ActionView {
    /// Its place in the session, from 1 on, without gaps.
    pub seq: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Which of the job's kinds of action.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was done, in words.
    pub sentence: String,
    /// The same words in pieces.
    pub parts: Vec<SentencePart>,
    /// All of it.
    pub payload: Value,
    /// `payload`, if that can't be read; it holds `{"unreadable": {"reason": …}}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<&'static str>,
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
            parts: row.parts.unwrap_or_else(|| Sentence::whole(&row.sentence)),
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
            parts: row.parts.unwrap_or_else(|| Sentence::whole(&row.sentence)),
            sentence: row.sentence,
            payload: row.payload,
            unreadable: row.unreadable,
        }
    }
}
