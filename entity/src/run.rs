//! A long run: what is known of it, and where its log is. Its `summary_json` is read by itself: it is long, and a text that is
//! compared byte by byte.

use sea_orm::entity::prelude::*;
use serde::Serialize;

/// A long run: what is known of it, and where its log is.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "runs")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The team.
    pub team_id: Uuid,
    /// What people call it.
    pub name: String,
    /// What it runs, as its program knows it.
    pub configuration_id: Option<String>,
    /// `queued`, `building`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// What its program ended with.
    pub exit_code: Option<i32>,
    /// Why it failed: `{stage, code, message}`.
    pub failure: Option<Json>,
    /// When it was asked for.
    pub created_at: DateTimeUtc,
    /// When it began.
    pub started_at: Option<DateTimeUtc>,
    /// When it ended.
    pub completed_at: Option<DateTimeUtc>,
    /// How many files its tables came from.
    pub input_file_count: Option<i32>,
    /// How many tables.
    pub table_count: Option<i32>,
    /// How many rows these had.
    pub row_count: Option<i64>,
    /// The worst of what was found: `info`, `warning` or `error`.
    pub max_validation_severity: Option<String>,
    /// Where its log is, under the storage's root.
    pub events_path: String,
    /// What it made, as its program names it.
    pub output_paths: Json,
    /// `open`, `closed`, `sealed` or `deleted`.
    pub log_state: String,
    /// Its log could not be written for a while.
    pub log_degraded: bool,
    /// How many lines the log has, once it is closed.
    pub log_lines: Option<i64>,
    /// How many bytes these are.
    pub log_bytes: Option<i64>,
    /// The process that holds its log.
    pub home: Option<Uuid>,
    /// After how many seconds of silence its writer is taken for dead.
    pub lost_after_seconds: i32,
    /// The job session that it is part of.
    pub job_session_id: Option<Uuid>,
    /// The story it belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it, if one did.
    pub causation_id: Option<Uuid>,
    /// When its row last changed.
    pub updated_at: DateTimeUtc,
    /// The transaction that last changed it.
    pub transaction_id: i64,
}

/// Daybook's tables are joined by hand.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
