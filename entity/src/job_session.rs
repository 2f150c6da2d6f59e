//! One attempt of a job, or other work in the background.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// One attempt of a job, or other work in the background.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "job_sessions")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// What job it is.
    pub job_name: String,
    /// The job: all its attempts have the same.
    pub job_id: Uuid,
    /// The queue's id of the job, if it came from the queue.
    pub queue_job_id: Option<i64>,
    /// Which attempt, from 1 on.
    pub attempt: i32,
    /// How many attempts there are before it is given up.
    pub max_attempts: i32,
    /// `running`, `succeeded`, `failed`, `cancelled` or `lost`.
    pub status: String,
    /// What it does, as people read it.
    pub sentence: String,
    /// The same in pieces, if it has badges.
    pub parts: Option<Json>,
    /// What it was given.
    pub input: Json,
    /// Who it acts for, and what it belongs to.
    pub context: Json,
    /// What it failed with: type, message, causes.
    pub error: Option<Json>,
    /// The story it belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it, if one did.
    pub causation_id: Option<Uuid>,
    /// When it was due in the queue.
    pub queued_at: Option<DateTimeUtc>,
    /// When it began.
    pub started_at: DateTimeUtc,
    /// When its worker last said that it lives.
    pub heartbeat_at: DateTimeUtc,
    /// When it ended; null while it runs.
    pub finished_at: Option<DateTimeUtc>,
    /// When somebody asked for its end.
    pub cancel_requested_at: Option<DateTimeUtc>,
    /// The transaction that last changed more than its heartbeat.
    pub transaction_id: i64,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
