//! How a request ended.

use super::fields::Value;

/// How a request, or another unit of work, ended. Each has exactly one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The answer had a status below 400 and was sent completely.
    Success,
    /// The client made a mistake: the answer had a status from 400 to 499 and was sent completely.
    ClientError,
    /// The service failed: the answer had a status of 500 or above, its body failed midway, or the work marked an
    /// error.
    Error,
    /// A handler panicked, before its answer or while its body was sent.
    Panic,
    /// The request exceeded its time limit (also an answer with status 408).
    Timeout,
    /// The client disconnected before the answer; the status is 499.
    AbortedBeforeResponse,
    /// The client disconnected before the body was sent completely.
    AbortedMidBody,
    /// The client disconnected, or violated the protocol, before its own body was complete; the status is 499.
    UploadAborted,
    /// The connection was upgraded to another protocol, such as WebSocket. Its end is a separate event.
    Upgraded,
    /// Work for which no client waits was dropped before its end, as at a shutdown.
    Cancelled,
}

impl Outcome {
    /// All outcomes.
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

    /// Returns the name that events have: `aborted_mid_body`.
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

    /// Returns the outcome of an answer that was sent completely, by its status.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            101 => Self::Upgraded,
            408 => Self::Timeout,
            400..=499 => Self::ClientError,
            500.. => Self::Error,
            _ => Self::Success,
        }
    }

    /// Returns whether the client disconnected.
    pub fn is_abort(self) -> bool {
        matches!(
            self,
            Self::AbortedBeforeResponse | Self::AbortedMidBody | Self::UploadAborted
        )
    }

    /// Returns whether the service failed.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Error | Self::Panic | Self::Timeout)
    }
}

impl From<Outcome> for Value {
    fn from(outcome: Outcome) -> Self {
        outcome.as_str().into()
    }
}
