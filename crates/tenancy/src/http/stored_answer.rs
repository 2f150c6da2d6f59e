//! An answer that is stored for an `Idempotency-Key`, and sent again when the request is repeated.

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use daybook_wide_events::WideEvent;
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};

/// Marks an answer that was sent before, to the same `Idempotency-Key`.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// An answer that is stored for an `Idempotency-Key`.
#[derive(Debug, Clone)]
pub struct StoredAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its `Content-Type`, if it had a body.
    pub content_type: Option<String>,
    /// Its `ETag`, if it had one.
    pub etag: Option<String>,
    /// Its `Location`, if it had one.
    pub location: Option<String>,
    /// Its body, unchanged.
    pub body: Vec<u8>,
}

impl IntoResponse for StoredAnswer {
    /// Sends the answer again, marked as repeated. It is not an error of this request: the request's wide event has
    /// `replayed`.
    fn into_response(self) -> Response {
        WideEvent::current().set("replayed", true);
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let kept = [
            (CONTENT_TYPE, self.content_type),
            (ETAG, self.etag),
            (LOCATION, self.location),
        ];
        for (name, value) in kept {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        }
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::error::{Error, StoredOutcome};

    #[tokio::test]
    async fn a_stored_answer_is_given_again_as_it_was() {
        let stored = StoredAnswer {
            status: 201,
            content_type: Some("application/json".to_owned()),
            etag: Some("\"7\"".to_owned()),
            location: Some("/v1/teams/1/campaigns/1".to_owned()),
            body: br#"{"id":1}"#.to_vec(),
        };
        let response = Error::Replay(StoredOutcome::new(stored)).into_response();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()["idempotent-replayed"], "true");
        assert_eq!(response.headers()[ETAG], "\"7\"");
        assert_eq!(response.headers()[LOCATION], "/v1/teams/1/campaigns/1");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(
            to_bytes(response.into_body(), 100).await.unwrap(),
            br#"{"id":1}"#.as_slice()
        );
    }

    #[tokio::test]
    async fn an_outcome_that_is_no_answer_is_an_internal_error() {
        let response = Error::Replay(StoredOutcome::new("an outcome")).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
