//! The outcomes of a session, and the stored form of its errors.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::{Display, EnumString, IntoStaticStr};
use utoipa::ToSchema;

use crate::error::{Cause, DatabaseError, Error, without_database_words};
use crate::text::cut;
use crate::wide_events::EventError;

/// The result of a job's work. Any error type can be returned with `?`.
pub type JobResult<T = ()> = Result<T, Cause>;

/// The status of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, IntoStaticStr, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", parse_err_ty = Error, parse_err_fn = unknown_status)]
#[schema(as = JobSessionStatus)]
#[non_exhaustive]
pub enum Status {
    /// The session is running.
    Running,
    /// The work returned `Ok`.
    Succeeded,
    /// The work returned an error, or panicked.
    Failed,
    /// The work was dropped before it ended, for example at a shutdown.
    Cancelled,
    /// The outcome is unknown: the worker sent no heartbeat for too long.
    Lost,
}

impl Status {
    /// Returns the value for the column `status`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown_status(_: &str) -> Error {
    Error::invalid(
        "status",
        "must be one of running, succeeded, failed, cancelled and lost",
    )
}

/// Maximum length of an error's message in a session, in graphemes.
const MAX_MESSAGE_LENGTH: usize = 4_000;

/// Renders an error for a session's row: its type, its message and its causes. The database's own messages are left
/// out, because they name tables and quote rows that a team's members may not see.
pub(super) fn error_json(error: &(dyn std::error::Error + 'static)) -> Value {
    let mut causes: Vec<String> = Vec::new();
    let mut message = None;
    let mut next = Some(error);
    while let Some(this) = next {
        let from_database = database_message(this);
        let text = storable(&from_database.clone().unwrap_or_else(|| this.to_string()));
        match &message {
            None => message = Some(text),
            // Some errors include their source's message, which would then appear twice.
            Some(message) if !causes.last().unwrap_or(message).contains(&text) => causes.push(text),
            Some(_) => {}
        }
        next = match from_database {
            Some(_) => None,
            None => this.source(),
        };
    }
    json!({"type": error_type(error), "message": message, "causes": causes})
}

/// Returns a message without details for an error of the database; `None` for other errors.
fn database_message(error: &(dyn std::error::Error + 'static)) -> Option<String> {
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
            .then(|| "the database could not be reached".to_owned()),
    }
}

/// Makes a message storable: without the database's words and NUL, and cut to the maximum length.
fn storable(message: &str) -> String {
    let message = without_database_words(message).replace('\0', "");
    cut(&message, MAX_MESSAGE_LENGTH).into_owned()
}

/// Renders an error for the attempt's wide event.
pub(super) fn event_error(error: &(dyn std::error::Error + 'static)) -> EventError {
    let event = EventError::new(error_type(error), error.to_string()).caused_by(error);
    match error.downcast_ref::<Error>() {
        Some(own) => event.code(own.code()).retriable(own.is_retryable()),
        None => event,
    }
}

/// Returns the name of an error's type. For an error that is not Daybook's own, the name is taken from its `Debug`
/// output.
fn error_type(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(own) = error.downcast_ref::<Error>() {
        return own.kind().to_owned();
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

/// Renders a panic for a session's row.
pub(super) fn panic_json(panic: &(dyn std::any::Any + Send)) -> Value {
    let message = panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    json!({"type": "Panic", "message": storable(&message), "causes": []})
}
