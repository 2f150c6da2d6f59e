//! Every layer, in the order in which a request meets them.

use std::any::Any;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Router, body::Body};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use super::{AppState, head, idempotency, uploads};
use crate::error::Error;
use crate::http::{body_limit, set_request_id};
use crate::tenancy::{ADVICE, Database, DroppedWrites};
use crate::wide_events::{EventError, Outcome, WideEvent, WideEventLayer};

/// Wraps the routes. What is first here is met first; they are one layer to axum, which boxes each of its own.
pub(super) fn around(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    let layers = ServiceBuilder::new()
        // One wide event, whatever becomes of the request. It names the request, too.
        .layer(WideEventLayer::of(state.wide_events().clone()))
        // What is said meanwhile, by us or by a library, is said of this request.
        .layer(from_fn(name))
        // A success whose writes were dropped is recorded as an error.
        .layer(from_fn_with_state(state.database().clone(), forgotten_commits))
        // A defect in a handler is its own request's trouble and nobody else's.
        .layer(CatchPanicLayer::custom(panicked))
        // A head that is ambiguous is refused. A request that takes too long is ended, and its transaction rolled back; a
        // body that makes no progress ends sooner.
        .layer(from_fn_with_state(Times::of(state), in_time))
        // Bodies over the limit are refused while they are read.
        .layer(body_limit(state.http().body_limit_bytes))
        // Answers a repeated POST as it was answered before.
        .layer(from_fn_with_state(state.clone(), idempotency::once));
    router.layer(layers)
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    request: Duration,
    body: Duration,
}

impl Times {
    fn of(state: &AppState) -> Self {
        Self {
            request: state.http().request_timeout,
            body: state.http().connections.body_timeout,
        }
    }
}

/// Requests that may take as long as what they send: each piece of it is answered for by itself. They end with their run,
/// and with their credential.
const STREAMED: (Method, &str) = (Method::POST, "/v1/teams/{team_id}/runs/{run_id}/events");

async fn in_time(State(times): State<Times>, request: Request, next: Next) -> Response {
    if let Err(error) = head::check(&request) {
        return error.into_response();
    }
    if is_streamed(&request) {
        return next.run(request).await;
    }
    let (request, upload) = uploads::watch(request, times.body);
    match tokio::time::timeout(times.request, next.run(request)).await {
        Ok(response) => upload.answer(response),
        Err(_) => {
            WideEvent::current().mark_outcome(Outcome::Timeout);
            Error::too_slow(times.request).into_response()
        }
    }
}

/// Whether it is a stream of lines; one event as JSON is a request as any other.
fn is_streamed(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let is_json = || {
        let sent = request
            .headers()
            .get(CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        sent.get(..16)
            .is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/json"))
    };
    (request.method(), route) == (&STREAMED.0, Some(STREAMED.1)) && !is_json()
}

/// Puts the request's id into the body of problems, and into a span around what `tracing` says.
async fn name(event: WideEvent, request: Request, next: Next) -> Response {
    let Some(ids) = event.ids() else {
        return next.run(request).await;
    };
    let span = tracing::error_span!("request", request_id = ids.request_id);
    let response = next.run(request).instrument(span).await;
    set_request_id(response, &ids.request_id)
}

/// Tells of commits that were forgotten: the handler has answered success, and what it wrote is lost.
async fn forgotten_commits(State(database): State<Database>, request: Request, next: Next) -> Response {
    let dropped = DroppedWrites::default();
    let response = dropped.around(next.run(request)).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        return response;
    }
    let forgotten = dropped.forgotten(&database);
    if forgotten > 0 {
        let words = format!("{forgotten} transactions wrote and were dropped: {ADVICE}");
        tracing::warn!("http: a request was answered with success, and {words}");
        WideEvent::current()
            .set("database.forgotten_commits", forgotten)
            .mark_error(EventError::new("ForgottenCommit", words).code("forgotten-commit"));
    }
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> axum::http::Response<Body> {
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no words".to_owned());
    WideEvent::current().mark_outcome(Outcome::Panic);
    Error::internal(format!("a handler panicked: {words}")).into_response()
}
