//! Sessions and actions in the form that clients receive.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::outcome::Status;
use super::sentence::SentencePart;

/// A job session: one attempt at a job, or other background work.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = JobSession)]
pub struct SessionView {
    /// The session's id.
    pub id: Uuid,
    /// The job's name.
    pub job_name: String,
    /// The job's id, which is the same for all attempts.
    pub job_id: Uuid,
    /// The queue's id of the job, if it came from the queue.
    pub queue_job_id: Option<i64>,
    /// The number of the attempt, from 1.
    pub attempt: i32,
    /// The maximum number of attempts.
    pub max_attempts: i32,
    /// The session's status.
    pub status: Status,
    /// What the session does, as a sentence.
    pub sentence: String,
    /// The sentence in parts.
    pub parts: Vec<SentencePart>,
    /// The job's input. Left out of live frames and stories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// The error: `type`, `message`, `causes`.
    pub error: Option<Value>,
    /// True if the input or the error is long and its values are cut here. A request for this session returns them
    /// completely.
    pub truncated: bool,
    /// The correlation id of its story.
    pub correlation_id: Uuid,
    /// The event that caused it, if there is one.
    pub causation_id: Option<Uuid>,
    /// When the job became due in the queue.
    pub queued_at: Option<DateTime<Utc>>,
    /// When the session started.
    pub started_at: DateTime<Utc>,
    /// The time of the worker's last heartbeat.
    pub heartbeat_at: DateTime<Utc>,
    /// When the session ended; null while it is running.
    pub finished_at: Option<DateTime<Utc>>,
    /// When its cancellation was requested.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Those of the fields `input` and `error` that can't be read; they contain `{"unreadable": {"reason": …}}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<&'static str>,
    /// How long the job waited in the queue after it was due, in milliseconds.
    pub queue_delay_ms: Option<i64>,
    /// How long the session ran, in milliseconds; null while it is running.
    pub run_time_ms: Option<i64>,
}

/// An action of a session.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = JobAction)]
pub struct ActionView {
    /// The action's number in the session, from 1 without gaps.
    pub seq: i64,
    /// When the action was added.
    pub at: DateTime<Utc>,
    /// The action's type, which the job defines.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was done, as a sentence.
    pub sentence: String,
    /// The sentence in parts.
    pub parts: Vec<SentencePart>,
    /// The payload. Long values are cut in stories only.
    pub payload: Value,
    /// Contains `payload` if that can't be read; it is then `{"unreadable": {"reason": …}}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<&'static str>,
}
