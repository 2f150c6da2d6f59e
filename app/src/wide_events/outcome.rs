//! How a request ended.

use super::fields::Value;

/// How a request, or another unit of work, ended. Each has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// An answer below 400, sent whole.
    Success,
    /// The client's mistake: an answer from 400 to 499, sent whole.
    ClientError,
    /// Ours: an answer from 500 on, a body that failed midway, or work that marked an error.
    Error,
    /// A handler panicked, before its answer or while its body was sent.
    Panic,
    /// It took longer than it may (also an answer with status 408).
    Timeout,
    /// The client was gone before it was answered; the status is 499.
    AbortedBeforeResponse,
    /// The client was gone before the body was sent whole.
    AbortedMidBody,
    /// The client was gone, or broke the protocol, before its own body was whole; the status is 499.
    UploadAborted,
    /// The connection is another protocol's from here on. What becomes of it is told by an event of its own.
    Upgraded,
    /// Work that no client waits for was dropped before its end, as at a shutdown.
    Cancelled,
}

impl Outcome {
    /// Every one of them.
    pub const ALL: [Self; 10] = [
        Self::Success,
        Self::ClientError,
        Self::Error,
        Self::Panic,
        Self::Timeout,
        Self::AbortedBeforeResponse,
        Self::AbortedMidBody,
        Self::UploadAborted,
        Self::Upgraded,
        Self::Cancelled,
    ];

    /// As events have it: `aborted_mid_body`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::AbortedBeforeResponse => "aborted_before_response",
            Self::AbortedMidBody => "aborted_mid_body",
            Self::UploadAborted => "upload_aborted",
            Self::Upgraded => "upgraded",
            Self::Cancelled => "cancelled",
        }
    }

    /// What an answer that was sent whole is, by its status.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            101 => Self::Upgraded,
            408 => Self::Timeout,
            400..=499 => Self::ClientError,
            500.. => Self::Error,
            _ => Self::Success,
        }
    }

    /// Whether the client left.
    pub fn is_abort(self) -> bool {
        matches!(
            self,
            Self::AbortedBeforeResponse | Self::AbortedMidBody | Self::UploadAborted
        )
    }

    /// Whether it is ours to look into.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Error | Self::Panic | Self::Timeout)
    }
}

impl From<Outcome> for Value {
    fn from(outcome: Outcome) -> Self {
        outcome.as_str().into()
    }
}
