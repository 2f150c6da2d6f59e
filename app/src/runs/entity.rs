//! A long run: its state, and the path of its log. The column `summary_json` is not in the entity. It is read
//! separately, because it is long, and because it is compared byte by byte as text.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A long run: its state, and the path of its log.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "runs")]
pub struct Model {
    /// The id, a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// The run's title for people.
    pub name: String,
    /// What the run executes, as its program names it.
    pub configuration_id: Option<String>,
    /// `queued`, `building`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// The program's exit code.
    pub exit_code: Option<i32>,
    /// Why the run failed: `{stage, code, message}`.
    pub failure: Option<Json>,
    /// When the run was requested.
    pub created_at: DateTimeUtc,
    /// When the run began.
    pub started_at: Option<DateTimeUtc>,
    /// When the run ended.
    pub completed_at: Option<DateTimeUtc>,
    /// The number of files from which the run's tables were read.
    pub input_file_count: Option<i32>,
    /// The number of tables.
    pub table_count: Option<i32>,
    /// The number of rows in these tables.
    pub row_count: Option<i64>,
    /// The highest severity that was found: `info`, `warning` or `error`.
    pub max_validation_severity: Option<String>,
    /// The path of its log, below the storage's root.
    pub events_path: String,
    /// The outputs, as its program names them.
    pub output_paths: Json,
    /// `open`, `closed`, `sealed` or `deleted`.
    pub log_state: String,
    /// True if the log could not be written for a while.
    pub log_degraded: bool,
    /// The number of lines in the log, set when it is closed.
    pub log_lines: Option<i64>,
    /// The number of bytes of these lines.
    pub log_bytes: Option<i64>,
    /// The id of the writer node that writes the run's log.
    pub home: Option<Uuid>,
    /// The number of seconds without a heartbeat after which the writer is considered lost.
    pub lost_after_seconds: i32,
    /// The job session that created the run.
    pub job_session_id: Option<Uuid>,
    /// The story that the run belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it, if there was one.
    pub causation_id: Option<Uuid>,
    /// When its row last changed.
    pub updated_at: DateTimeUtc,
    /// The transaction that last changed it.
    pub transaction_id: i64,
}

/// No relations: queries join Daybook's tables explicitly.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
