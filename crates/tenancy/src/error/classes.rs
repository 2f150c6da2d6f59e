//! Errors by what the caller can do about them.

use std::any::Any;
use std::borrow::Cow;

use ::http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

/// The result type of Daybook's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A cause of an error. It is not shown to the client.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error in one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field: a JSON path (`budget`, `ids[3]`), a query parameter or a header's name.
    pub field: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

/// An error, classified by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 400: the request can't be parsed (invalid JSON, a malformed header).
    #[error("{detail}")]
    BadRequest {
        /// What is wrong and what would be right.
        detail: String,
    },
    /// 401: the credentials are missing or invalid.
    #[error("{detail}")]
    Unauthenticated {
        /// The reason, without hints about valid credentials.
        detail: Cow<'static, str>,
    },
    /// 403: the caller is a member, but may not do this.
    #[error("{detail}")]
    Forbidden {
        /// What the caller's role or key may not do, and which one may.
        detail: String,
    },
    /// 404: the object does not exist, or it belongs to another team. A client can't distinguish the two.
    #[error("no such {what}")]
    NotFound {
        /// The kind of object that was requested: `campaign`, `team`, `thread`.
        what: Cow<'static, str>,
    },
    /// 405: the route exists, but not with this method.
    #[error("this route does not accept this method")]
    MethodNotAllowed,
    /// 409: the request conflicts with the current state.
    #[error("{detail}")]
    Conflict {
        /// A stable code for programs: `handle-taken`, `last-owner`, `outcome-unknown`.
        code: &'static str,
        /// What the request conflicts with.
        detail: String,
    },
    /// 410: the object existed and was permanently removed.
    #[error("{detail}")]
    Gone {
        /// Describes the removed object, and what remains of it.
        detail: String,
    },
    /// 412: the version in `If-Match` is not the newest one.
    #[error("the object has changed since the version that If-Match names")]
    PreconditionFailed,
    /// 413: the body is larger than the limit.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// 415: the body has an unsupported type.
    #[error("the body must be {expected}")]
    UnsupportedMediaType {
        /// The supported type or types.
        expected: &'static str,
    },
    /// 422: the request can be parsed, but some of its fields are invalid.
    #[error("{}", .0.iter().map(|e| format!("{}: {}", e.field, e.detail)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// 428: a required `If-Match` is missing.
    #[error("{detail}")]
    PreconditionRequired {
        /// The header, and where its value comes from.
        detail: Cow<'static, str>,
    },
    /// 503: a temporary failure that the client can retry: serialization failures and deadlocks after the service's own
    /// retries, no free connection, an unreachable database.
    #[error("{detail}")]
    Unavailable {
        /// What is unavailable, for the client.
        detail: Cow<'static, str>,
        /// The cause, for the operator.
        #[source]
        source: Option<Cause>,
    },
    /// 500: consumers that emit events caused each other more than `MAX_CONSUMER_DEPTH` levels deep (`daybook-events`).
    #[error(
        "consumers caused each other {depth} levels deep, the last one by event {event_id}; the limit prevents loops"
    )]
    ConsumerDepth {
        /// The depth of the chain.
        depth: usize,
        /// The event whose consumers would have gone one level too deep.
        event_id: Uuid,
    },
    /// A consumer of mode `abort` failed, so the transaction can't commit. The status is that of the consumer's error
    /// if this is an [`Error`], else 500.
    #[error("consumer {consumer} failed")]
    Consumer {
        /// The consumer's name.
        consumer: &'static str,
        /// The consumer's error.
        #[source]
        source: Cause,
    },
    /// The stored outcome of an earlier request with the same `Idempotency-Key`, which answers this one unchanged.
    #[error("this request was answered before")]
    Replay(StoredOutcome),
    /// 500: a defect or a broken environment. The client receives only the request's id.
    #[error("internal error")]
    Internal(#[source] Cause),
}

/// The stored outcome of a request with an `Idempotency-Key`. Only the layer that stores outcomes knows their type. All
/// other layers pass them on.
#[derive(Debug)]
pub struct StoredOutcome(Box<dyn Any + Send + Sync>);

impl StoredOutcome {
    /// Wraps an outcome.
    pub fn new(outcome: impl Any + Send + Sync) -> Self {
        Self(Box::new(outcome))
    }

    /// Returns the outcome, or `None` if it has another type.
    pub fn downcast<T: Any>(self) -> Option<T> {
        self.0.downcast().ok().map(|outcome| *outcome)
    }
}

impl Error {
    /// Returns a 404 for a kind of object: `Error::not_found("campaign")`.
    pub fn not_found(what: impl Into<Cow<'static, str>>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// Returns a 422 for one field.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError {
            field: field.into(),
            detail: detail.into(),
        }])
    }

    /// Returns a 409 with a stable `code`.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict {
            code,
            detail: detail.into(),
        }
    }

    /// Returns a 401.
    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Unauthenticated { detail: detail.into() }
    }

    /// Returns a 503 for a request that was cancelled because it took longer than `limit`.
    pub fn too_slow(limit: std::time::Duration) -> Self {
        Self::Unavailable {
            detail: format!("the request took longer than {} s", limit.as_secs()).into(),
            source: None,
        }
    }

    /// Returns a 500: a defect or a broken environment, whose cause only the operator sees.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// Returns the HTTP status of the answer. A stored outcome is answered with its own status, which only the layer
    /// that stored it knows.
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
            // If a consumer fails with a client error, the request fails with the same one.
            Self::Consumer { source, .. } => source
                .downcast_ref::<Error>()
                .map_or(StatusCode::INTERNAL_SERVER_ERROR, Error::status),
            Self::ConsumerDepth { .. } | Self::Internal(_) | Self::Replay(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the stable code for programs, which is the last part of the problem's `type`.
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

    /// Returns the variant's name, which wide events use as the error's type.
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
