//! The names that a client gives its request.

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue};

use super::ids::{Replaced, RequestIds, TRACEPARENT, X_REQUEST_ID};

/// The same value as `traceparent` and as `x-request-id`.
pub(crate) fn fuzz_ids(value: &HeaderValue) {
    let given = HeaderMap::from_iter([(TRACEPARENT, value.clone()), (X_REQUEST_ID, value.clone())]);
    let ids = RequestIds::of(&given, SystemTime::now());
    let mut answer = HeaderMap::new();
    ids.put_on(&mut answer);
    // Whoever comes next takes what the answer names.
    let next = RequestIds::of(&answer, SystemTime::now());
    assert_eq!(next.replaced, Replaced::default(), "{answer:?}");
    assert_eq!(
        (&next.request_id, next.correlation_id),
        (&ids.request_id, ids.correlation_id)
    );
    assert_eq!(next.parent_span_id, Some(ids.span_id));
}
