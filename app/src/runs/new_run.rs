//! The inputs with which a run is created and ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::status::RunStatus;
use crate::error::{Error, FieldError, Result};

/// The maximum length of a name or a configuration id, in characters.
const MAX_CHARS: usize = 200;
/// The default time of silence after which a writer counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(300);
const LOST_AFTER_SECONDS: std::ops::RangeInclusive<u64> = 5..=86_400;

/// A request to create a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    pub(super) name: String,
    pub(super) configuration_id: Option<String>,
    pub(super) lost_after: Duration,
    pub(super) start: bool,
}

impl NewRun {
    /// Creates a request for a run with this name, which starts at once.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            configuration_id: None,
            lost_after: LOST_AFTER,
            start: true,
        }
    }

    /// Sets the program's id of the configuration that is run.
    #[must_use]
    pub fn configuration(mut self, id: impl Into<String>) -> Self {
        self.configuration_id = Some(id.into());
        self
    }

    /// Sets the time of silence after which the writer counts as lost and the run fails: 5 s to 1 day, by default 5
    /// minutes.
    #[must_use]
    pub fn lost_after(mut self, silence: Duration) -> Self {
        self.lost_after = silence;
        self
    }

    /// Lets the run wait as `queued` until a line reports that it has started.
    #[must_use]
    pub fn queued(mut self) -> Self {
        self.start = false;
        self
    }

    /// Validates the request.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all invalid fields.
    pub(super) fn checked(mut self) -> Result<Self> {
        let mut wrong = Vec::new();
        self.name = self.name.trim().to_owned();
        let texts = [
            ("name", Some(&self.name)),
            ("configuration_id", self.configuration_id.as_ref()),
        ];
        for (field, text) in texts.into_iter().filter_map(|(field, text)| Some((field, text?))) {
            let chars = text.chars().count();
            if !(1..=MAX_CHARS).contains(&chars) || text.chars().any(char::is_control) {
                wrong.push(FieldError {
                    field: field.to_owned(),
                    detail: format!("must have 1 to {MAX_CHARS} characters, and no control characters"),
                });
            }
        }
        if !LOST_AFTER_SECONDS.contains(&self.lost_after.as_secs()) {
            wrong.push(FieldError {
                field: "lost_after_seconds".to_owned(),
                detail: "must be from 5 to 86400".to_owned(),
            });
        }
        match wrong.is_empty() {
            true => Ok(self),
            false => Err(Error::Invalid(wrong)),
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RunFailure)]
pub struct Failure {
    /// The part of the run that failed, such as `build` or `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// A code for programs, such as `writer-lost` or `out-of-memory`.
    pub code: String,
    /// A message for people.
    pub message: String,
}

/// The result with which a writer ends a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOutcome {
    pub(super) status: RunStatus,
    pub(super) exit_code: Option<i32>,
    pub(super) failure: Option<Failure>,
    pub(super) output_paths: Vec<String>,
    pub(super) reason: Option<String>,
}

impl RunOutcome {
    /// Creates the result of a run that succeeded.
    pub fn succeeded() -> Self {
        Self {
            status: RunStatus::Succeeded,
            exit_code: None,
            failure: None,
            output_paths: Vec::new(),
            reason: None,
        }
    }

    /// Creates the result of a run that failed, with a code for programs and a message for people.
    pub fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status: RunStatus::Failed,
            failure: Some(Failure {
                stage: None,
                code: code.into(),
                message: message.into(),
            }),
            ..Self::succeeded()
        }
    }

    /// Creates the result of a run that is cancelled, with an optional reason for people.
    pub fn cancelled(reason: Option<String>) -> Self {
        Self {
            status: RunStatus::Cancelled,
            reason,
            ..Self::succeeded()
        }
    }

    /// Sets the exit code of the program.
    #[must_use]
    pub fn exit_code(mut self, code: i32) -> Self {
        self.exit_code = Some(code);
        self
    }

    pub(super) fn failure_json(&self) -> Option<Value> {
        serde_json::to_value(self.failure.as_ref()?).ok()
    }
}
