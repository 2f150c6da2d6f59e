//! How a session ends.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::error::{Cause, Error};
use crate::wide_events::EventError;

/// What a job's work returns. Any error will do, with `?`.
pub type JobResult<T = ()> = Result<T, Cause>;

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = JobSessionStatus)]
pub enum Status {
    /// It runs.
    Running,
    /// Its work returned `Ok`.
    Succeeded,
    /// Its work returned an error, or panicked.
    Failed,
    /// Its work was dropped before its end, as at a shutdown.
    Cancelled,
    /// Nobody knows: its worker has said nothing for too long.
    Lost,
}

impl Status {
    /// As in the column `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Status {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [
            Self::Running,
            Self::Succeeded,
            Self::Failed,
            Self::Cancelled,
            Self::Lost,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| {
            Error::invalid(
                "status",
                "must be one of running, succeeded, failed, cancelled and lost",
            )
        })
    }
}

/// An error as a session's row has it: its type, its words, and what caused it.
pub(super) fn error_json(error: &(dyn std::error::Error + 'static)) -> Value {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(source) = next {
        let words = source.to_string();
        // Errors that pass their source's words on would say everything twice.
        if causes.last().is_none_or(|last| !last.contains(&words)) {
            causes.push(words);
        }
        next = source.source();
    }
    json!({"type": kind(error), "message": error.to_string(), "causes": causes})
}

/// An error as the attempt's wide event has it.
pub(super) fn event_error(error: &(dyn std::error::Error + 'static)) -> EventError {
    let told = EventError::new(kind(error), error.to_string()).caused_by(error);
    match error.downcast_ref::<Error>() {
        Some(ours) => told.code(ours.code()).retriable(ours.is_retryable()),
        None => told,
    }
}

fn kind(error: &(dyn std::error::Error + 'static)) -> &'static str {
    error.downcast_ref::<Error>().map_or("Error", Error::kind)
}

/// A panic as a session's row has it.
pub(super) fn panic_json(panic: &(dyn std::any::Any + Send)) -> Value {
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no words".to_owned());
    json!({"type": "Panic", "message": words, "causes": []})
}
