//! One error for the whole service, and the policy of what a client is told.
//!
//! A client is told what it can act on: a stable `code`, a status, a sentence, and, for bad input, the
//! field, what was wrong and what would be right. It is never told what the database said. The cause is
//! kept as `source()` for the operator's side (stderr, the request's wide event).
//!
//! Another team's object is [`Error::NotFound`], never "forbidden": its existence is not ours to tell.
//! The database's errors are sorted in one place, [`Error::from_database`], by their SQLSTATE and their constraint. Its
//! messages quote values, so nobody is given them, not even the operator: a [`DatabaseError`] has the codes and the names.

mod database;

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

pub(crate) use database::is_stale_plan;
pub use database::{DatabaseError, OutOfYears, without_database_words};

/// What Daybook's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A cause kept from the client.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// One thing wrong with a request, by field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Where it is: a JSON path (`budget`, `ids[3]`), a query parameter or a header's name.
    pub field: String,
    /// What was wrong and what would be right.
    pub detail: String,
}

/// Everything that can go wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 400: the request can't be read at all (broken JSON, a malformed header).
    #[error("{detail}")]
    BadRequest {
        /// What was wrong and what would be right.
        detail: String,
    },
    /// 401: no credentials, or ones that don't hold.
    #[error("{detail}")]
    Unauthenticated {
        /// Why, without saying what a right credential would have matched.
        detail: Cow<'static, str>,
    },
    /// 403: known, a member, and not allowed to.
    #[error("{detail}")]
    Forbidden {
        /// What the caller's role or key may not do, and which could.
        detail: String,
    },
    /// 404: not there, or not in this team, which is the same to a client.
    #[error("no such {what}")]
    NotFound {
        /// The kind of thing that was looked for: `campaign`, `team`, `thread`.
        what: Cow<'static, str>,
    },
    /// 405: a route that is there, by a method that isn't.
    #[error("this route does not take this method")]
    MethodNotAllowed,
    /// 409: the request contradicts what is there.
    #[error("{detail}")]
    Conflict {
        /// A stable word for programs: `handle-taken`, `last-owner`, `outcome-unknown`.
        code: &'static str,
        /// What it contradicts.
        detail: String,
    },
    /// 410: it was here, and will not be again.
    #[error("{detail}")]
    Gone {
        /// What is gone, and what is left of it.
        detail: String,
    },
    /// 412: `If-Match` names a version that is no longer the newest.
    #[error("the object has changed since the version that If-Match names")]
    PreconditionFailed,
    /// 413: a body over the limit.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// 415: a body of another type.
    #[error("the body must be {expected}")]
    UnsupportedMediaType {
        /// What it may be.
        expected: &'static str,
    },
    /// 422: readable, and wrong, field by field.
    #[error("{}", .0.iter().map(|e| format!("{}: {}", e.field, e.detail)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// 428: a change without `If-Match` where one is required.
    #[error("{detail}")]
    PreconditionRequired {
        /// Which header, and where its value comes from.
        detail: Cow<'static, str>,
    },
    /// 503: worth trying again: serialization failures and deadlocks after the retries, no free
    /// connection, a database that is away.
    #[error("{detail}")]
    Unavailable {
        /// What is away, in words for the client.
        detail: Cow<'static, str>,
        /// The cause, for the operator.
        #[source]
        source: Option<Cause>,
    },
    /// Consumers that emit events have caused each other more than [`MAX_CONSUMER_DEPTH`] levels deep.
    ///
    /// [`MAX_CONSUMER_DEPTH`]: crate::events::MAX_CONSUMER_DEPTH
    #[error(
        "consumers caused each other {depth} levels deep, last by event {event_id}; the limit is there to stop a loop"
    )]
    ConsumerDepth {
        /// How deep the chain went.
        depth: usize,
        /// The event whose consumers would have gone one level too deep.
        event_id: Uuid,
    },
    /// An in-transaction consumer of mode `abort` said no; the transaction can't commit.
    #[error("consumer {consumer} failed")]
    Consumer {
        /// The consumer's name.
        consumer: &'static str,
        /// What it said.
        #[source]
        source: Cause,
    },
    /// A finished answer to the same `Idempotency-Key`, to be sent again as it was.
    #[error("this request was answered before")]
    Replay(Box<StoredAnswer>),
    /// 500: a defect or a broken environment. The client is told nothing but the request's id.
    #[error("internal error")]
    Internal(#[source] Cause),
}

/// An answer kept for an `Idempotency-Key`.
#[derive(Debug, Clone)]
pub struct StoredAnswer {
    /// The HTTP status it had.
    pub status: u16,
    /// Its `Content-Type`, if it had a body.
    pub content_type: Option<String>,
    /// Its `ETag`, if it had one.
    pub etag: Option<String>,
    /// Its `Location`, if it had one.
    pub location: Option<String>,
    /// Its body, byte for byte.
    pub body: Vec<u8>,
}

impl Error {
    /// 404 for a `what`: `Error::not_found("campaign")`.
    pub fn not_found(what: impl Into<Cow<'static, str>>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// 422 for one field.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError {
            field: field.into(),
            detail: detail.into(),
        }])
    }

    /// 409 with a stable `code`.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict {
            code,
            detail: detail.into(),
        }
    }

    /// 401.
    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Unauthenticated { detail: detail.into() }
    }

    /// 503 for a request that was ended because it took longer than `limit`.
    pub(crate) fn too_slow(limit: std::time::Duration) -> Self {
        Self::Unavailable {
            detail: format!("the request took longer than {} s", limit.as_secs()).into(),
            source: None,
        }
    }

    /// A defect or a broken environment, told to the operator only.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// The HTTP status a client gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::Gone { .. } => StatusCode::GONE,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::PreconditionRequired { .. } => StatusCode::PRECONDITION_REQUIRED,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            // A consumer that refuses with a client's error refuses the request with it.
            Self::Consumer { source, .. } => source
                .downcast_ref::<Error>()
                .map_or(StatusCode::INTERNAL_SERVER_ERROR, Error::status),
            Self::Replay(answer) => StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::ConsumerDepth { .. } | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable word for programs, the last part of the problem's `type`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "bad-request",
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Conflict { code, .. } => code,
            Self::Gone { .. } => "gone",
            Self::PreconditionFailed => "precondition-failed",
            Self::TooLarge { .. } => "too-large",
            Self::UnsupportedMediaType { .. } => "unsupported-media-type",
            Self::Invalid(_) => "invalid",
            Self::PreconditionRequired { .. } => "precondition-required",
            Self::Unavailable { .. } => "unavailable",
            Self::Consumer { source, .. } => source.downcast_ref::<Error>().map_or("internal", Error::code),
            Self::ConsumerDepth { .. } | Self::Internal(_) | Self::Replay(_) => "internal",
        }
    }

    /// Which of these it is, as wide events name its type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "BadRequest",
            Self::Unauthenticated { .. } => "Unauthenticated",
            Self::Forbidden { .. } => "Forbidden",
            Self::NotFound { .. } => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::Conflict { .. } => "Conflict",
            Self::Gone { .. } => "Gone",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::TooLarge { .. } => "TooLarge",
            Self::UnsupportedMediaType { .. } => "UnsupportedMediaType",
            Self::Invalid(_) => "Invalid",
            Self::PreconditionRequired { .. } => "PreconditionRequired",
            Self::Unavailable { .. } => "Unavailable",
            Self::ConsumerDepth { .. } => "ConsumerDepth",
            Self::Consumer { .. } => "Consumer",
            Self::Replay(_) => "Replay",
            Self::Internal(_) => "Internal",
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.into())
    }
}
