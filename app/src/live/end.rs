//! Why a socket ends, and what its client is told.

use axum::extract::ws::close_code;
use tokio_tungstenite::tungstenite::{self, error::ProtocolError};

use crate::error::Error;

/// Why a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its client is gone.
    Gone,
    /// Its client has closed it, and is answered in kind.
    Closed,
    /// The service stops.
    GoingAway,
    /// A message was larger than it may be.
    TooBig,
    /// What came is no WebSocket frame, or not one that may come there.
    ProtocolError,
    /// A text was not UTF-8.
    InvalidUtf8,
    /// Something of ours broke.
    Broken,
    /// The token or ticket's token has expired.
    CredentialExpired,
    /// Its member is none any longer, or its key was revoked.
    NoMember,
    /// Its client doesn't read, or doesn't answer pings.
    NotReading,
    /// Its client says more than it may.
    TooMuch,
}

impl End {
    /// RFC 6455 §7.4: from 4000 on, codes are the application's own.
    pub(super) fn code(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Gone | Self::Closed => None,
            Self::GoingAway => Some((close_code::AWAY, "the service stops; come again in a moment")),
            Self::TooBig => Some((close_code::SIZE, "the message is too big")),
            Self::ProtocolError => Some((close_code::PROTOCOL, "this is no valid frame")),
            Self::InvalidUtf8 => Some((close_code::INVALID, "the text is not UTF-8")),
            Self::Broken => Some((close_code::ERROR, "internal error")),
            Self::CredentialExpired => Some((4401, "the credential has expired; come again with a new one")),
            Self::NoMember => Some((4403, "no longer in this team")),
            Self::NotReading => Some((4408, "the client doesn't read; come again from the last cursor")),
            Self::TooMuch => Some((4429, "too many messages")),
        }
    }

    /// Who ended it: the `client` by leaving or by what it did, or the `service`.
    pub(super) fn who(self) -> &'static str {
        match self {
            Self::Gone
            | Self::Closed
            | Self::TooBig
            | Self::ProtocolError
            | Self::InvalidUtf8
            | Self::NotReading
            | Self::TooMuch => "client",
            Self::GoingAway | Self::Broken | Self::CredentialExpired | Self::NoMember => "service",
        }
    }

    /// What a failed socket comes to.
    pub(super) fn of(error: &axum::Error) -> Self {
        let mut next = Some(error as &(dyn std::error::Error + 'static));
        while let Some(error) = next {
            match error.downcast_ref::<tungstenite::Error>() {
                Some(tungstenite::Error::Capacity(_)) => return Self::TooBig,
                Some(tungstenite::Error::Utf8(_)) => return Self::InvalidUtf8,
                // A connection that breaks off is one of these, too.
                Some(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return Self::Gone,
                Some(tungstenite::Error::Protocol(_)) => return Self::ProtocolError,
                _ => next = error.source(),
            }
        }
        Self::Gone
    }

    /// Whether nothing more can be read of the socket, whatever its client sends.
    pub(super) fn is_deaf(self) -> bool {
        matches!(self, Self::TooBig | Self::ProtocolError | Self::InvalidUtf8)
    }

    /// Whether the database has said that this socket's member may not be here.
    pub(super) fn refuses(error: &Error) -> bool {
        matches!(
            error,
            Error::NotFound { .. } | Error::Unauthenticated { .. } | Error::Forbidden { .. }
        )
    }
}
