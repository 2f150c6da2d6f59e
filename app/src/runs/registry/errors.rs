//! Errors of logs that this process can't write or read.

use daybook_run_log::LogError;

use crate::error::Error;

pub(in crate::runs) fn not_here() -> Error {
    Error::Unavailable {
        detail: "the run's log is in the storage of a process that is gone: start that process, or share its folder"
            .into(),
        source: None,
    }
}

pub(super) fn recovery_under_way() -> Error {
    Error::Unavailable {
        detail: "the run's log is being recovered from a process that is gone; try again in a moment".into(),
        source: None,
    }
}

pub(super) fn stopping() -> Error {
    Error::Unavailable {
        detail: "the service is stopping; try again in a moment".into(),
        source: None,
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        let detail = error.to_string();
        match error {
            LogError::Ended => Self::conflict("run-ended", detail),
            LogError::Held => Self::conflict("log-held", detail),
            LogError::Full { .. } => Self::conflict("log-full", detail),
            LogError::Fenced { .. } => Self::conflict("writer-fenced", detail),
            LogError::SequenceGap { .. } => Self::conflict("writer-gap", detail),
            LogError::TooManyWriters { .. } => Self::conflict("too-many-writers", detail),
            LogError::Unwritable(_) => Self::Unavailable {
                detail: detail.into(),
                source: None,
            },
            // Lines, names and sizes are checked before they reach the log.
            _ => Self::internal(error),
        }
    }
}
