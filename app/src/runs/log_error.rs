//! The errors of a run's log, as errors of a request.

use daybook_run_log::LogError;

use crate::error::Error;

/// Returns what a client receives for an error of a log.
pub(super) fn log_error(error: LogError) -> Error {
    let detail = error.to_string();
    match error {
        LogError::Ended => Error::conflict("run-ended", detail),
        LogError::Held => Error::conflict("log-held", detail),
        LogError::Full { .. } => Error::conflict("log-full", detail),
        LogError::Fenced { .. } => Error::conflict("writer-fenced", detail),
        LogError::SequenceGap { .. } => Error::conflict("writer-gap", detail),
        LogError::TooManyWriters { .. } => Error::conflict("too-many-writers", detail),
        LogError::Unwritable(_) => Error::Unavailable {
            detail: detail.into(),
            source: None,
        },
        // Lines, names and sizes are checked before they reach the log.
        _ => Error::internal(error),
    }
}
