//! Filters of threads and messages, without a thread.

use axum::extract::FromRequestParts as _;
use axum::http::request::Parts;
use futures_util::FutureExt as _;

use super::{MessageParams, ThreadParams};
use crate::error::Error;
use crate::http::Query;

/// A query as both lists read it.
pub(crate) fn fuzz_filters(head: &mut Parts, is_clients_mistake: fn(&Error) -> bool) {
    let refused = |error: Error| assert!(is_clients_mistake(&error), "{error:?}");
    match Query::<ThreadParams>::from_request_parts(head, &()).now_or_never() {
        Some(Ok(Query(params))) => params.page.limit().map(drop).unwrap_or_else(refused),
        Some(Err(error)) => refused(error),
        None => {}
    }
    match Query::<MessageParams>::from_request_parts(head, &()).now_or_never() {
        Some(Ok(Query(params))) => {
            params.since().map(drop).unwrap_or_else(refused);
            params.window().map(drop).unwrap_or_else(refused);
        }
        Some(Err(error)) => refused(error),
        None => {}
    }
}
