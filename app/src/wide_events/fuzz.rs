//! The fuzz target for the ids that a client sends.

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue};

use super::ids::{ReplacedIds, RequestIds, TRACEPARENT, X_REQUEST_ID};

/// Reads `value` both as `traceparent` and as `x-request-id`, and checks that the ids of the answer can be read again.
pub(crate) fn fuzz_ids(value: &HeaderValue) {
    let given = HeaderMap::from_iter([(TRACEPARENT, value.clone()), (X_REQUEST_ID, value.clone())]);
    let ids = RequestIds::of(&given, SystemTime::now());
    let mut answer = HeaderMap::new();
    ids.write_to(&mut answer);
    // The next service accepts the ids of the answer.
    let next = RequestIds::of(&answer, SystemTime::now());
    assert_eq!(next.replaced, ReplacedIds::default(), "{answer:?}");
    assert_eq!(
        (&next.request_id, next.correlation_id),
        (&ids.request_id, ids.correlation_id)
    );
    assert_eq!(next.parent_span_id, Some(ids.span_id));
}
