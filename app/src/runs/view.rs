//! The JSON form of runs.

use crate::runs::entity as run;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::json::Unreadable;

/// The maximum number of a run's outputs in lists, stories and live frames.
pub(super) const LISTED_OUTPUTS: usize = 20;

/// A run.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Run)]
pub struct RunView {
    /// The run's id, a UUIDv7.
    pub id: Uuid,
    /// The name for people.
    pub name: String,
    /// The program's id of the configuration that is run.
    pub configuration_id: Option<String>,
    /// `queued`, `building`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// The exit code of the program.
    pub exit_code: Option<i32>,
    /// Why the run failed.
    pub failure: Option<Value>,
    /// When the run was created.
    pub created_at: DateTime<Utc>,
    /// When the run started.
    pub started_at: Option<DateTime<Utc>>,
    /// When the run ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// The number of files from which tables were read. This and the next three fields are set when the run has ended.
    pub input_file_count: Option<i32>,
    /// The number of tables.
    pub table_count: Option<i32>,
    /// The number of rows in these tables.
    pub row_count: Option<i64>,
    /// The highest severity that validation found: `info`, `warning` or `error`.
    pub max_validation_severity: Option<String>,
    /// The outputs of the run, as the program names them.
    pub output_paths: Value,
    /// Whether there are more than 20 outputs, and `output_paths` has only the first 20. A request for this run returns
    /// all of them.
    pub truncated: bool,
    /// Those of the fields `failure` and `output_paths` that can't be read; they hold `{"unreadable": {"reason": …}}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<&'static str>,
    /// The log of the run.
    pub log: RunLogView,
    /// The number of seconds of silence after which the writer counts as lost.
    pub lost_after_seconds: i32,
    /// The job session to which the run belongs.
    pub job_session_id: Option<Uuid>,
    /// The story to which the run belongs.
    pub correlation_id: Uuid,
    /// The event that caused the run, if any.
    pub causation_id: Option<Uuid>,
}

/// The metadata of a run's log in the database.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RunLog)]
pub struct RunLogView {
    /// `open`, `closed`, `sealed` or `deleted`.
    pub state: String,
    /// Whether the log could not be written for a while. `log.gap` lines say how many lines are missing.
    pub degraded: bool,
    /// The path under the storage's root.
    pub path: String,
    /// The number of lines, after the log is closed.
    pub lines: Option<i64>,
    /// The size in bytes, after the log is closed.
    pub bytes: Option<i64>,
}

impl RunView {
    /// Converts a run that was selected for a list. Such a row has one output more than the list shows, if there are
    /// more.
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
