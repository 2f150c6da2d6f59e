//! How a session ends.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::error::{Cause, DatabaseError, Error, without_database_words};
use crate::text::cut;
use crate::wide_events::EventError;

/// What a job's work returns. Any error will do, with `?`.
pub type JobResult<T = ()> = Result<T, Cause>;

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = JobSessionStatus)]
#[non_exhaustive]
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

/// How long the words of an error may be that a session keeps.
const MAX_WORDS: usize = 4_000;

/// An error as a session's row has it: its type, its words, and what caused it. The database's own words are none that a
/// team's members should read: they name tables, and quote other rows.
pub(super) fn error_json(error: &(dyn std::error::Error + 'static)) -> Value {
    let mut causes: Vec<String> = Vec::new();
    let mut message = None;
    let mut next = Some(error);
    while let Some(this) = next {
        let of_database = database_words(this);
        let words = kept(&of_database.clone().unwrap_or_else(|| this.to_string()));
        match &message {
            None => message = Some(words),
            // Errors that pass their source's words on would say everything twice.
            Some(message) if !causes.last().unwrap_or(message).contains(&words) => causes.push(words),
            Some(_) => {}
        }
        next = match of_database {
            Some(_) => None,
            None => this.source(),
        };
    }
    json!({"type": kind(error), "message": message, "causes": causes})
}

/// What can be said of the database's errors: what kind they are.
fn database_words(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if error.is::<sea_orm::DbErr>() {
        return Some("the database refused a statement".to_owned());
    }
    let kept = error.downcast_ref::<DatabaseError>().cloned();
    match kept.or_else(|| error.downcast_ref::<sqlx::Error>().and_then(DatabaseError::of)) {
        Some(refusal) => Some(format!(
            "the database refused a statement (SQLSTATE {})",
            refusal.sqlstate
        )),
        None => error
            .is::<sqlx::Error>()
            .then(|| "the database could not be asked".to_owned()),
    }
}

/// As a row can hold it.
fn kept(words: &str) -> String {
    let words = without_database_words(words).replace('\0', "");
    cut(&words, MAX_WORDS).into_owned()
}

/// An error as the attempt's wide event has it.
pub(super) fn event_error(error: &(dyn std::error::Error + 'static)) -> EventError {
    let told = EventError::new(kind(error), error.to_string()).caused_by(error);
    match error.downcast_ref::<Error>() {
        Some(ours) => told.code(ours.code()).retriable(ours.is_retryable()),
        None => told,
    }
}

/// The type of an error. One that is not Daybook's own has told its type to nobody but its `Debug`.
fn kind(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.kind().to_owned();
    }
    let shown = format!("{error:?}");
    let name: String = shown
        .chars()
        .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
        .collect();
    if name.starts_with(|first: char| first.is_ascii_uppercase()) && name.len() <= 64 {
        name
    } else {
        "Error".to_owned()
    }
}

/// A panic as a session's row has it.
pub(super) fn panic_json(panic: &(dyn std::any::Any + Send)) -> Value {
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no words".to_owned());
    json!({"type": "Panic", "message": kept(&words), "causes": []})
}
