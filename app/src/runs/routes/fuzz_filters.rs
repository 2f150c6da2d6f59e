//! Fuzz target: the query filters of runs and of their lines, without a run.

use axum::extract::FromRequestParts as _;
use axum::http::request::Parts;
use daybook_run_log::StoredLine;
use futures_util::FutureExt as _;

use super::RunParams;
use super::read_request::ReadParams;
use crate::error::Error;
use crate::http::Query;

/// Parses a query as both routes do, and applies its line filter to `lines`.
pub(crate) fn fuzz_filters(head: &mut Parts, lines: &[u8], is_clients_mistake: fn(&Error) -> bool) {
    let refused = |error: Error| assert!(is_clients_mistake(&error), "{error:?}");
    match Query::<RunParams>::from_request_parts(head, &()).now_or_never() {
        Some(Ok(Query(params))) => {
            params.filter().map(drop).unwrap_or_else(refused);
            params.page.limit().map(drop).unwrap_or_else(refused);
        }
        Some(Err(error)) => refused(error),
        None => {}
    }
    match Query::<ReadParams>::from_request_parts(head, &()).now_or_never() {
        Some(Ok(Query(params))) => {
            params.limit().map(drop).unwrap_or_else(refused);
            match params.read_request(&head.headers) {
                Ok(request) => {
                    assert!(request.start.first() > 0, "lines are numbered from 1");
                    for line in lines.split(|byte| *byte == b'\n') {
                        let takes = StoredLine::parse(line).is_some_and(|read| request.filter.takes(&read));
                        assert!(!takes || !request.filter.takes_all() || !line.is_empty());
                    }
                }
                Err(error) => refused(error),
            }
        }
        Some(Err(error)) => refused(error),
        None => {}
    }
}
