//! Errors of logs that this process can't write or read.

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
