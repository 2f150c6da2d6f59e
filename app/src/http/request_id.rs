//! Names each request, and ties it to the story it belongs to.
//!
//! A client may bring its own `x-request-id`, and a W3C `traceparent` whose trace id becomes the
//! correlation id of everything the request causes: events, jobs, webhooks, runs. What isn't well formed is
//! replaced without a word, as both are for tracing and no reason to refuse work.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use uuid::Uuid;

use super::problem;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const MAX_REQUEST_ID_BYTES: usize = 128;
/// The flag "sampled" of a trace that begins here.
const SAMPLED: u8 = 1;

/// A request's names, in its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIds {
    /// The client's `x-request-id`, or a new UUIDv7.
    pub request_id: String,
    /// The trace id of the client's `traceparent`, or a new UUIDv7.
    pub correlation_id: Uuid,
}

/// The parts of a `traceparent` that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TraceParent {
    trace_id: Uuid,
    flags: u8,
}

/// Middleware for [`axum::middleware::from_fn`]: puts [`RequestIds`] into the request's extensions, and
/// `x-request-id` and `traceparent` on the response. Problems get the request's id into their body.
///
/// What `tracing` says meanwhile, ours or a library's, is inside a span with the request's id.
pub async fn name_request(mut request: Request, next: Next) -> Response {
    let trace = trace_parent(request.headers()).unwrap_or_else(|| TraceParent {
        trace_id: Uuid::now_v7(),
        flags: SAMPLED,
    });
    let request_id = given_request_id(request.headers()).unwrap_or_else(|| Uuid::now_v7().to_string());
    let ids = RequestIds {
        request_id: request_id.clone(),
        correlation_id: trace.trace_id,
    };
    request.extensions_mut().insert(ids);

    let span = tracing::error_span!("request", request_id);
    let response = next.run(request).instrument(span).await;

    let mut response = problem::set_request_id(response, &request_id);
    let headers = response.headers_mut();
    // Both are plain ASCII, made or checked above.
    if let Ok(value) = HeaderValue::try_from(request_id) {
        headers.insert(X_REQUEST_ID, value);
    }
    if let Ok(value) = HeaderValue::try_from(trace.continued()) {
        headers.insert(TRACEPARENT, value);
    }
    response
}

impl TraceParent {
    /// The header for whoever comes next: the same trace, and this request's own part in it.
    fn continued(self) -> String {
        // An id of zeros means "none", so the lowest bit is set.
        let parent_id = rand::random::<u64>() | 1;
        format!("00-{}-{parent_id:016x}-{:02x}", self.trace_id.simple(), self.flags)
    }
}

/// `^[A-Za-z0-9._:-]{1,128}$`: safe in a header, a log line and a shell.
fn given_request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(X_REQUEST_ID)?.as_bytes();
    let well_formed = (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(byte));
    well_formed.then(|| String::from_utf8_lossy(id).into_owned())
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, in lower case, with ids that aren't zero (W3C Trace Context §3.2).
fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let text = values.next()?.to_str().ok()?;
    // Two parents are none.
    if values.next().is_some() {
        return None;
    }
    let mut parts = text.trim().split('-');
    let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || parts.next().is_some() {
        return None;
    }
    let trace_id = u128::from_str_radix(lower_hex(trace_id, 32)?, 16).ok()?;
    let parent_id = u64::from_str_radix(lower_hex(parent_id, 16)?, 16).ok()?;
    let flags = u8::from_str_radix(lower_hex(flags, 2)?, 16).ok()?;
    (trace_id != 0 && parent_id != 0).then(|| TraceParent {
        trace_id: Uuid::from_u128(trace_id),
        flags,
    })
}

fn lower_hex(text: &str, digits: usize) -> Option<&str> {
    let right = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    right.then_some(text)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::header::CONTENT_LENGTH;
    use axum::routing::get;
    use axum::{Extension, Router};
    use tower::ServiceExt;

    use super::*;
    use crate::error::Error;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn router() -> Router {
        Router::new()
            .route(
                "/ids",
                get(async |Extension(ids): Extension<RequestIds>| format!("{} {}", ids.request_id, ids.correlation_id)),
            )
            .route("/missing", get(async || Error::not_found("campaign")))
            .layer(axum::middleware::from_fn(name_request))
    }

    async fn send(method: &str, path: &str, headers: &[(&str, &str)]) -> (HeaderMap, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        (parts.headers, text)
    }

    #[tokio::test]
    async fn a_clients_own_names_are_kept() {
        let (headers, body) = send(
            "GET",
            "/ids",
            &[("x-request-id", "job:7.a_b-1"), ("traceparent", TRACE)],
        )
        .await;
        assert_eq!(headers["x-request-id"], "job:7.a_b-1");
        assert_eq!(body, "job:7.a_b-1 4bf92f35-77b3-4da6-a3ce-929d0e0e4736");
        let trace = headers["traceparent"].to_str().unwrap();
        assert!(
            trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace.ends_with("-00"),
            "{trace}"
        );
        assert!(
            !trace.contains("00f067aa0ba902b7"),
            "the parent is this request: {trace}"
        );
    }

    #[tokio::test]
    async fn without_names_new_ones_are_given() {
        for id in ["", "has space", "ä", &"x".repeat(129)] {
            let (headers, body) = send("GET", "/ids", &[("x-request-id", id)]).await;
            let (request_id, correlation_id) = body.split_once(' ').unwrap();
            assert_eq!(headers["x-request-id"], request_id);
            assert_eq!(Uuid::parse_str(request_id).unwrap().get_version_num(), 7);
            let trace = headers["traceparent"].to_str().unwrap();
            assert!(trace.contains(&Uuid::parse_str(correlation_id).unwrap().simple().to_string()));
        }
    }

    #[test]
    fn only_well_formed_parents_are_followed() {
        let parse = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
            }
            trace_parent(&headers)
        };
        assert_eq!(parse(&[TRACE]).unwrap().flags, 0);
        assert_eq!(parse(&[TRACE, TRACE]), None);
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-00",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        ] {
            assert_eq!(parse(&[wrong]), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn problems_carry_the_requests_id_and_the_right_length() {
        let (headers, body) = send("GET", "/missing", &[("x-request-id", "r-1")]).await;
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["request_id"], "r-1");
        assert_eq!(headers[CONTENT_LENGTH].to_str().unwrap(), body.len().to_string());
        let (of_head, nothing) = send("HEAD", "/missing", &[("x-request-id", "r-1")]).await;
        assert_eq!(of_head[CONTENT_LENGTH], headers[CONTENT_LENGTH]);
        assert_eq!(nothing, "");
    }
}
