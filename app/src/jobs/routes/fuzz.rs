//! Parses the filters of job sessions: for fuzzing.

use axum::extract::FromRequestParts as _;
use axum::http::request::Parts;
use futures_util::FutureExt as _;

use super::SessionParams;
use crate::error::Error;
use crate::http::Query;

/// Parses a query as the route for the list does.
pub(crate) fn fuzz_filters(head: &mut Parts, is_clients_mistake: fn(&Error) -> bool) {
    let refused = |error: Error| assert!(is_clients_mistake(&error), "{error:?}");
    match Query::<SessionParams>::from_request_parts(head, &()).now_or_never() {
        Some(Ok(Query(params))) => {
            params.filter().map(drop).unwrap_or_else(refused);
            params.page.limit().map(drop).unwrap_or_else(refused);
        }
        Some(Err(error)) => refused(error),
        None => {}
    }
}
