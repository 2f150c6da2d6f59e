//! Defines why a socket is closed, and the close code and reason that its client receives.

use axum::extract::ws::close_code;
use tokio_tungstenite::tungstenite::{self, error::ProtocolError};

use crate::error::Error;

/// Why a socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The client has disconnected without a close frame.
    Gone,
    /// The client has sent a close frame, which is answered with the same code.
    Closed,
    /// The service stops.
    GoingAway,
    /// A message was too large.
    TooBig,
    /// The client sent an invalid WebSocket frame, or a valid frame that isn't allowed at that point.
    ProtocolError,
    /// A text was not UTF-8.
    InvalidUtf8,
    /// An internal error.
    Broken,
    /// The token with which the socket or its ticket was requested has expired.
    CredentialExpired,
    /// The member is no longer in the team, or the API key was revoked.
    NotAMember,
    /// The client doesn't read, or doesn't answer pings.
    Unresponsive,
    /// The client sent too many frames.
    TooManyFrames,
}

impl CloseReason {
    /// Returns the close code and the reason; `None` if the service sends no close frame of its own. Codes from 4000 on
    /// are the application's own (RFC 6455 §7.4).
    pub(super) fn code(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Gone | Self::Closed => None,
            Self::GoingAway => Some((close_code::AWAY, "the service stops; reconnect in a moment")),
            Self::TooBig => Some((close_code::SIZE, "the message is too big")),
            Self::ProtocolError => Some((close_code::PROTOCOL, "invalid WebSocket frame")),
            Self::InvalidUtf8 => Some((close_code::INVALID, "the text is not UTF-8")),
            Self::Broken => Some((close_code::ERROR, "internal error")),
            Self::CredentialExpired => Some((4401, "the credential has expired; reconnect with a new one")),
            Self::NotAMember => Some((4403, "no longer in this team")),
            Self::Unresponsive => Some((4408, "the client doesn't read; reconnect from the last cursor")),
            Self::TooManyFrames => Some((4429, "too many frames")),
        }
    }

    /// Returns who ended the socket: the `client`, by disconnecting or by what it sent, or the `service`.
    pub(super) fn ended_by(self) -> &'static str {
        match self {
            Self::Gone
            | Self::Closed
            | Self::TooBig
            | Self::ProtocolError
            | Self::InvalidUtf8
            | Self::Unresponsive
            | Self::TooManyFrames => "client",
            Self::GoingAway | Self::Broken | Self::CredentialExpired | Self::NotAMember => "service",
        }
    }

    /// Returns why the socket is closed after an error of the WebSocket library.
    pub(super) fn from_error(error: &axum::Error) -> Self {
        let mut next = Some(error as &(dyn std::error::Error + 'static));
        while let Some(error) = next {
            match error.downcast_ref::<tungstenite::Error>() {
                Some(tungstenite::Error::Capacity(_)) => return Self::TooBig,
                Some(tungstenite::Error::Utf8(_)) => return Self::InvalidUtf8,
                // A lost connection is reported as a protocol error, too.
                Some(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return Self::Gone,
                Some(tungstenite::Error::Protocol(_)) => return Self::ProtocolError,
                _ => next = error.source(),
            }
        }
        Self::Gone
    }

    /// Returns whether nothing more can be read from the socket after this error.
    pub(super) fn is_unreadable(self) -> bool {
        matches!(self, Self::TooBig | Self::ProtocolError | Self::InvalidUtf8)
    }

    /// Returns whether the error means that the socket's member has lost its access.
    pub(super) fn is_access_refusal(error: &Error) -> bool {
        matches!(
            error,
            Error::NotFound { .. } | Error::Unauthenticated { .. } | Error::Forbidden { .. }
        )
    }
}
