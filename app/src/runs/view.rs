//! A run as clients see it.

use chrono::{DateTime, Utc};
use daybook_entity::run;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::json::Unreadable;

/// How many of a run's outputs lists, stories and frames show.
pub(super) const LISTED_OUTPUTS: usize = 20;

/// A run.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Run)]
pub struct RunView {
    /// UUIDv7.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// What it runs, as its program knows it.
    pub configuration_id: Option<String>,
    /// `queued`, `building`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// What its program ended with.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub failure: Option<Value>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// How many files its tables came from; with the following ones once it has ended.
    pub input_file_count: Option<i32>,
    /// How many tables.
    pub table_count: Option<i32>,
    /// How many rows these had.
    pub row_count: Option<i64>,
    /// The worst that validation found: `info`, `warning` or `error`.
    pub max_validation_severity: Option<String>,
    /// What it made, as its program names it.
    pub output_paths: Value,
    /// True: it made more than the first 20 that are here; the run by itself has all of them.
    pub truncated: bool,
    /// The fields among `failure` and `output_paths` that can't be read; they hold `{"unreadable": {"reason": …}}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<&'static str>,
    /// Its log.
    pub log: RunLogView,
    /// After how many seconds of silence its writer is taken for dead.
    pub lost_after_seconds: i32,
    /// The job session that it is part of.
    pub job_session_id: Option<Uuid>,
    /// The story it belongs to.
    pub correlation_id: Uuid,
    /// The event that caused it, if one did.
    pub causation_id: Option<Uuid>,
}

/// A run's log, as far as the database knows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RunLog)]
pub struct RunLogView {
    /// `open`, `closed`, `sealed` or `deleted`.
    pub state: String,
    /// It could not be written for a while: `log.gap` lines say what is missing.
    pub degraded: bool,
    /// Where it is, under the storage's root.
    pub path: String,
    /// How many lines it has, once it is closed.
    pub lines: Option<i64>,
    /// How many bytes these are.
    pub bytes: Option<i64>,
}

impl RunView {
    /// A run that was selected for a list: with one output more than is shown, if there are more.
    pub(super) fn listed(run: run::Model) -> Self {
        let mut view = Self::from(run);
        if let Value::Array(outputs) = &mut view.output_paths {
            view.truncated = outputs.len() > LISTED_OUTPUTS;
            outputs.truncate(LISTED_OUTPUTS);
        }
        view
    }
}

impl From<run::Model> for RunView {
    fn from(run: run::Model) -> Self {
        let mut unreadable = Vec::new();
        if run.failure.as_ref().is_some_and(Unreadable::is_placeholder) {
            unreadable.push("failure");
        }
        if Unreadable::is_placeholder(&run.output_paths) {
            unreadable.push("output_paths");
        }
        Self {
            id: run.id,
            name: run.name,
            configuration_id: run.configuration_id,
            status: run.status,
            exit_code: run.exit_code,
            failure: run.failure,
            created_at: run.created_at,
            started_at: run.started_at,
            completed_at: run.completed_at,
            input_file_count: run.input_file_count,
            table_count: run.table_count,
            row_count: run.row_count,
            max_validation_severity: run.max_validation_severity,
            output_paths: run.output_paths,
            truncated: false,
            unreadable,
            log: RunLogView {
                state: run.log_state,
                degraded: run.log_degraded,
                path: run.events_path,
                lines: run.log_lines,
                bytes: run.log_bytes,
            },
            lost_after_seconds: run.lost_after_seconds,
            job_session_id: run.job_session_id,
            correlation_id: run.correlation_id,
            causation_id: run.causation_id,
        }
    }
}
