//! One attempt at a job, or other background work.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// One attempt at a job, or other background work.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "job_sessions")]
pub struct Model {
    /// The session's id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// The name of the job's type.
    pub job_name: String,
    /// The job's id, the same for all its attempts.
    pub job_id: Uuid,
    /// The job's id in the queue, if it came from the queue.
    pub queue_job_id: Option<i64>,
    /// The number of this attempt, from 1.
    pub attempt: i32,
    /// The maximum number of attempts.
    pub max_attempts: i32,
    /// `running`, `succeeded`, `failed`, `cancelled` or `lost`.
    pub status: String,
    /// What the session does, as people read it.
    pub sentence: String,
    /// The sentence in parts, if it has badges.
    pub parts: Option<Json>,
    /// The job's input.
    pub input: Json,
    /// The context: who the session acts for, and what it belongs to.
    pub context: Json,
    /// The error: type, message, causes.
    pub error: Option<Json>,
    /// The story that the session belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it, if there was one.
    pub causation_id: Option<Uuid>,
    /// When the job was due in the queue.
    pub queued_at: Option<DateTimeUtc>,
    /// When the session began.
    pub started_at: DateTimeUtc,
    /// The time of the worker's last heartbeat.
    pub heartbeat_at: DateTimeUtc,
    /// When the session ended; null while it runs.
    pub finished_at: Option<DateTimeUtc>,
    /// When somebody requested its cancellation.
    pub cancel_requested_at: Option<DateTimeUtc>,
    /// The last transaction that changed more than the heartbeat.
    pub transaction_id: i64,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
