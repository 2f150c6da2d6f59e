//! What is asked for when a run begins, and what is told when it ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::status::RunStatus;
use crate::error::{Error, FieldError, Result};

/// How long a name or a configuration's id may be, in characters.
const MAX_CHARS: usize = 200;
/// After which silence a writer is taken for dead, unless the run says otherwise.
const LOST_AFTER: Duration = Duration::from_secs(300);
const LOST_AFTER_SECONDS: std::ops::RangeInclusive<u64> = 5..=86_400;

/// A run that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    pub(super) name: String,
    pub(super) configuration_id: Option<String>,
    pub(super) lost_after: Duration,
    pub(super) start: bool,
}

impl NewRun {
    /// A run by this name, which starts at once.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            configuration_id: None,
            lost_after: LOST_AFTER,
            start: true,
        }
    }

    /// What it runs, as the program knows it.
    #[must_use]
    pub fn configuration(mut self, id: impl Into<String>) -> Self {
        self.configuration_id = Some(id.into());
        self
    }

    /// After which silence its writer is taken for dead, and the run for failed: 5 s to a day; 5 minutes if not said.
    #[must_use]
    pub fn lost_after(mut self, silence: Duration) -> Self {
        self.lost_after = silence;
        self
    }

    /// It waits, `queued`, until it is told to have started.
    #[must_use]
    pub fn queued(mut self) -> Self {
        self.start = false;
        self
    }

    /// As it can be kept.
    ///
    /// # Errors
    /// [`Error::Invalid`], with every field that is wrong.
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
                detail: "must be 5 to 86400".to_owned(),
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
    /// In what part of it: `build`, `run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// For programs: `writer-lost`, `out-of-memory`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub(super) status: RunStatus,
    pub(super) exit_code: Option<i32>,
    pub(super) failure: Option<Failure>,
    pub(super) output_paths: Vec<String>,
    pub(super) reason: Option<String>,
}

impl Ending {
    /// It has done what it was to do.
    pub fn succeeded() -> Self {
        Self {
            status: RunStatus::Succeeded,
            exit_code: None,
            failure: None,
            output_paths: Vec::new(),
            reason: None,
        }
    }

    /// It has not.
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

    /// Somebody ends it, maybe for a reason.
    pub fn cancelled(reason: Option<String>) -> Self {
        Self {
            status: RunStatus::Cancelled,
            reason,
            ..Self::succeeded()
        }
    }

    /// What its program ended with.
    #[must_use]
    pub fn exit_code(mut self, code: i32) -> Self {
        self.exit_code = Some(code);
        self
    }

    pub(super) fn failure_json(&self) -> Option<Value> {
        serde_json::to_value(self.failure.as_ref()?).ok()
    }
}
