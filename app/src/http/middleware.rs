//! Every layer, in the order in which a request meets them.

use std::any::Any;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Router, body::Body};
use tower_http::catch_panic::CatchPanicLayer;

use super::{AppState, extract, idempotency, request_id};
use crate::error::Error;

/// Wraps the routes: what is added last here is met first.
pub(super) fn around(router: Router<AppState>, state: &AppState) -> Router<AppState> {
    router
        // 5. Answers a repeated POST as it was answered before.
        .layer(from_fn_with_state(state.clone(), idempotency::once))
        // 4. Bodies over the limit are refused while they are read.
        .layer(extract::body_limit(state.http().body_limit_bytes))
        // 3. A request that takes too long is ended; its transaction is rolled back.
        .layer(from_fn_with_state(state.http().request_timeout, end_in_time))
        // 2. A defect in a handler is its own request's trouble and nobody else's.
        .layer(CatchPanicLayer::custom(panicked))
        // 1. Names the request and the story it belongs to.
        .layer(from_fn(request_id::name_request))
}

async fn end_in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::too_slow(limit).into_response(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> axum::http::Response<Body> {
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no words".to_owned());
    Error::internal(format!("a handler panicked: {words}")).into_response()
}
