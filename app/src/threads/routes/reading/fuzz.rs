//! Fuzzes the query parameters of the lists of threads and messages, without a database.

use axum::extract::FromRequestParts as _;
use axum::http::request::Parts;
use futures_util::FutureExt as _;

use super::{MessageParams, ThreadParams};
use crate::error::Error;
use crate::http::Query;

/// Parses a query as both lists do, and asserts that each error is a client error.
pub(crate) fn fuzz_filters(head: &mut Parts, is_client_error: fn(&Error) -> bool) {
    let check_error = |error: Error| assert!(is_client_error(&error), "{error:?}");
    match Query::<ThreadParams>::from_request_parts(head, &()).now_or_never() {
        Some(Ok(Query(params))) => params.page.limit().map(drop).unwrap_or_else(check_error),
        Some(Err(error)) => check_error(error),
        None => {}
    }
    match Query::<MessageParams>::from_request_parts(head, &()).now_or_never() {
        Some(Ok(Query(params))) => {
            params.since().map(drop).unwrap_or_else(check_error);
            params.window().map(drop).unwrap_or_else(check_error);
        }
        Some(Err(error)) => check_error(error),
        None => {}
    }
}
