//! Errors as clients receive them: `application/problem+json`, RFC 9457.
//!
//! A problem's `type` is `/problems/<code>`, a reference relative to the service's own address. Programs distinguish
//! problems by the code. `title` belongs to the code, `detail` to this occurrence, and `errors` has an entry for each
//! wrong field.
//!
//! The cause is only for the operator, in the request's wide event. The client receives a neutral sentence and the
//! request's id, which it can quote.

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::stored_answer::StoredAnswer;
use crate::error::{Error, FieldError};
use daybook_wide_events::{EventError, WideEvent};

/// The media type of problems.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error as a client receives it (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// `/problems/<code>`, by which programs distinguish problems.
    #[serde(rename = "type")]
    #[schema(example = "/problems/not-found")]
    pub kind: String,
    /// The code in words; the same for every occurrence.
    #[schema(example = "Not found")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// What is wrong in this request, and what would be right.
    #[schema(example = "no such campaign")]
    pub detail: String,
    /// The wrong fields; for `/problems/invalid`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The request's id, also in the header `x-request-id`. Quote it when you ask for help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Problem {
    /// Returns a problem with a status and a code, for a failure that isn't an [`Error`], such as a timeout or a panic.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{code}"),
            title: title(code),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            request_id: None,
        }
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let errors = match error {
            // If a consumer fails with a client error, the client receives that one.
            Error::Consumer { source, .. } => {
                if let Some(inner) = source.downcast_ref::<Error>() {
                    return Self::from(inner);
                }
                Vec::new()
            }
            Error::Invalid(errors) => errors.clone(),
            _ => Vec::new(),
        };
        let detail = match error.status() {
            StatusCode::INTERNAL_SERVER_ERROR => {
                "the service failed; quote the request's id to its operator, who can find the cause by it".to_owned()
            }
            _ => error.to_string(),
        };
        Self {
            errors,
            ..Self::new(error.status(), error.code(), detail)
        }
    }
}

impl IntoResponse for Problem {
    /// Returns the problem as a response, and puts it into the response's extensions, where `set_request_id` finds it.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(CONTENT_TYPE, PROBLEM_JSON)], body(&self)).into_response();
        match status {
            // RFC 9110 §11.6.1 requires this header in every 401 response.
            StatusCode::UNAUTHORIZED => {
                response
                    .headers_mut()
                    .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Replay(outcome) => match outcome.downcast::<StoredAnswer>() {
                Some(answer) => return answer.into_response(),
                None => Self::internal("the stored outcome of the Idempotency-Key is not an HTTP answer"),
            },
            error => error,
        };
        WideEvent::current().mark_error(event_error(&error));
        Problem::from(&error).into_response()
    }
}

/// Returns the error for the wide event, with the causes that the client doesn't receive.
fn event_error(error: &Error) -> EventError {
    let message = match error {
        Error::BadRequest { .. } | Error::Invalid(_) => without_values(&error.to_string()),
        other => other.to_string(),
    };
    EventError::new(error.kind(), message)
        .code(error.code())
        .retriable(error.status() == StatusCode::SERVICE_UNAVAILABLE || error.is_retryable())
        .caused_by(error)
}

/// Removes a client's values from the text of an error. A program may have made the error from serde's text, which
/// quotes them. The texts of Daybook's extractors contain none.
fn without_values(message: &str) -> String {
    let mut masked = message.to_owned();
    for quoting in ["invalid type: ", "invalid value: ", "unknown variant "] {
        let mut from = 0;
        while let Some(begin) = masked.get(from..).and_then(|rest| rest.find(quoting)) {
            let begin = from + begin + quoting.len();
            let rest = masked.get(begin..).unwrap_or_default();
            let end = rest.find(", expected").map_or(masked.len(), |end| begin + end);
            masked.replace_range(begin..end, "…");
            from = begin;
        }
    }
    masked
}

/// Adds the request's id to a problem's body. Other responses are left as they are.
pub fn set_request_id(response: Response, request_id: &str) -> Response {
    let Some(problem) = response.extensions().get::<Problem>() else {
        return response;
    };
    let problem = Problem {
        request_id: Some(request_id.to_owned()),
        ..problem.clone()
    };
    let (mut parts, _) = response.into_parts();
    // The server computes the length of the new body.
    parts.headers.remove(CONTENT_LENGTH);
    let body = Body::from(body(&problem));
    parts.extensions.insert(problem);
    Response::from_parts(parts, body)
}

fn body(problem: &Problem) -> Vec<u8> {
    // Texts and a number can always be serialised. Even an empty body would still have its status.
    serde_json::to_vec(problem).unwrap_or_default()
}

/// Returns the title for a code: `Handle taken` for `handle-taken`.
fn title(code: &str) -> String {
    let words = code.replace('-', " ");
    let mut letters = words.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    async fn answer(error: Error) -> (StatusCode, http::HeaderMap, Value) {
        let response = error.into_response();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_client_receives_what_it_can_act_on() {
        let (status, headers, body) = answer(Error::invalid("budget", "must be above zero")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
        let expected = json!({
            "type": "/problems/invalid",
            "title": "Invalid",
            "status": 422,
            "detail": "budget: must be above zero",
            "errors": [{"field": "budget", "detail": "must be above zero"}],
        });
        assert_eq!(body, expected);

        let (status, _, body) = answer(Error::conflict("handle-taken", "another member has this handle")).await;
        assert_eq!(
            (status.as_u16(), &body["type"], &body["title"]),
            (409, &json!("/problems/handle-taken"), &json!("Handle taken"))
        );
        assert!(body.get("errors").is_none());
    }

    #[tokio::test]
    async fn a_status_has_the_headers_that_it_requires() {
        let (_, headers, _) = answer(Error::unauthenticated("no")).await;
        assert_eq!(headers[WWW_AUTHENTICATE], "Bearer");
        let away = Error::Unavailable {
            detail: "away".into(),
            source: None,
        };
        assert_eq!(answer(away).await.1[RETRY_AFTER], "1");
    }

    #[tokio::test]
    async fn a_client_does_not_receive_the_cause() {
        let error = Error::internal("relation \"secret_table\" does not exist");
        let event = serde_json::to_string(&daybook_wide_events::Value::from(event_error(&error))).unwrap();
        assert!(event.contains("secret_table"), "{event}");
        let (_, _, body) = answer(error).await;
        assert!(!body.to_string().contains("secret_table"));

        let deep = Error::ConsumerDepth {
            depth: 9,
            event_id: uuid::Uuid::nil(),
        };
        let (status, _, body) = answer(deep).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body["detail"].as_str().unwrap().contains("levels deep"));
    }

    #[tokio::test]
    async fn only_a_client_error_of_a_consumer_reaches_the_client() {
        let refusal = Error::Consumer {
            consumer: "limits",
            source: Box::new(Error::invalid("budget", "is over the team's")),
        };
        let (status, _, body) = answer(refusal).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(body["errors"][0]["field"], "budget");

        let failure = Error::Consumer {
            consumer: "limits",
            source: "index out of bounds".into(),
        };
        let (status, _, body) = answer(failure).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("limits") && !body.to_string().contains("bounds"));
    }

    #[test]
    fn the_event_quotes_no_value_of_a_client() {
        let error = Error::Invalid(vec![
            FieldError {
                field: "$".to_owned(),
                detail: "invalid type: string \"S3cret\", expected struct X".to_owned(),
            },
            FieldError {
                field: "role".to_owned(),
                detail: "unknown variant `S3cret, too`, expected one of `viewer`, `member`".to_owned(),
            },
        ]);
        let event = serde_json::to_value(daybook_wide_events::Value::from(event_error(&error))).unwrap();
        assert_eq!(
            event["message"],
            "$: invalid type: …, expected struct X; role: unknown variant …, expected one of `viewer`, `member`"
        );
        assert_eq!(without_values("invalid value: 7"), "invalid value: …");
        assert_eq!(
            without_values("budget: must be above zero"),
            "budget: must be above zero"
        );
    }

    #[test]
    fn an_event_has_each_cause_once_the_outermost_first() {
        let error = Error::Consumer {
            consumer: "limits",
            source: Box::new(Error::internal("disk is full")),
        };
        let event = serde_json::to_value(daybook_wide_events::Value::from(event_error(&error))).unwrap();
        assert_eq!(
            event,
            json!({
                "type": "Consumer", "message": "consumer limits failed", "code": "internal", "retriable": false,
                "causes": ["internal error", "disk is full"],
            })
        );
    }
}
