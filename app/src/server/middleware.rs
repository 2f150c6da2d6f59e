//! All layers, in the order in which a request passes them.

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

/// Wraps the routes. A request passes the first layer here first. They are combined into one layer, because axum boxes
/// each layer that it is given.
pub(super) fn around(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    let layers = ServiceBuilder::new()
        // Writes one wide event for each request, whatever its outcome, and gives the request its id.
        .layer(WideEventLayer::of(state.wide_events().clone()))
        // Adds the request's id to log lines of this service and of libraries.
        .layer(from_fn(add_request_id))
        // Records a success as an error if its writes were dropped.
        .layer(from_fn_with_state(state.database().clone(), forgotten_commits))
        // Turns a panic in a handler into a 500 response; other requests are not affected.
        .layer(CatchPanicLayer::custom(panic_response))
        // Rejects ambiguous heads. Ends a request that takes too long, which rolls back its transaction, and, sooner,
        // one whose body makes no progress.
        .layer(from_fn_with_state(Timeouts::of(state), enforce_timeouts))
        // Rejects bodies over the limit while they are read.
        .layer(body_limit(state.http().body_limit_bytes))
        // Answers a repeated POST with the stored response.
        .layer(from_fn_with_state(state.clone(), idempotency::once));
    router.layer(layers)
}

/// The request timeouts.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    request: Duration,
    body: Duration,
}

impl Timeouts {
    fn of(state: &AppState) -> Self {
        Self {
            request: state.http().request_timeout,
            body: state.http().connections.body_timeout,
        }
    }
}

/// The method and route of streamed uploads, which have no time limit. An upload lasts as long as its client sends, and
/// each piece is processed separately. It ends when its run ends or its credential expires.
const STREAMED: (Method, &str) = (Method::POST, "/v1/teams/{team_id}/runs/{run_id}/events");

async fn enforce_timeouts(State(timeouts): State<Timeouts>, request: Request, next: Next) -> Response {
    if let Err(error) = head::check(&request) {
        return error.into_response();
    }
    if is_streamed(&request) {
        return next.run(request).await;
    }
    let (request, upload) = uploads::watch(request, timeouts.body);
    match tokio::time::timeout(timeouts.request, next.run(request)).await {
        Ok(response) => upload.answer(response),
        Err(_) => {
            WideEvent::current().mark_outcome(Outcome::Timeout);
            Error::too_slow(timeouts.request).into_response()
        }
    }
}

/// Returns whether the request is a stream of lines; one event as JSON is an ordinary request.
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

/// Adds the request's id to problem bodies, and to a `tracing` span around the request.
async fn add_request_id(event: WideEvent, request: Request, next: Next) -> Response {
    let Some(ids) = event.ids() else {
        return next.run(request).await;
    };
    let span = tracing::error_span!("request", request_id = ids.request_id);
    let response = next.run(request).instrument(span).await;
    set_request_id(response, &ids.request_id)
}

/// Reports forgotten commits: the handler has returned success, but its writes are lost.
async fn forgotten_commits(State(database): State<Database>, request: Request, next: Next) -> Response {
    let dropped = DroppedWrites::default();
    let response = dropped.around(next.run(request)).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        return response;
    }
    let forgotten = dropped.forgotten(&database);
    if forgotten > 0 {
        let words = format!("{forgotten} transactions wrote and were dropped: {ADVICE}");
        tracing::warn!("http: a request succeeded, but {words}");
        WideEvent::current()
            .set("database.forgotten_commits", forgotten)
            .mark_error(EventError::new("ForgottenCommit", words).code("forgotten-commit"));
    }
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panic_response(panic: Box<dyn Any + Send + 'static>) -> axum::http::Response<Body> {
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    WideEvent::current().mark_outcome(Outcome::Panic);
    Error::internal(format!("a handler panicked: {words}")).into_response()
}
