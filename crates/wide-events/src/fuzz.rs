//! The fuzz target for the ids that a client sends.

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue};

use super::ids::{ReplacedIds, RequestIds, TRACEPARENT, X_REQUEST_ID};

/// Reads `value` both as `traceparent` and as `x-request-id`, and checks that the ids of the answer can be read again.
pub fn fuzz_ids(value: &HeaderValue) {
    let given = HeaderMap::from_iter([(TRACEPARENT, value.clone()), (X_REQUEST_ID, value.clone())]);
    let ids = RequestIds::of(&given, SystemTime::UNIX_EPOCH);
    let mut answer = HeaderMap::new();
    ids.write_to(&mut answer);
    // The next service accepts the ids of the answer.
    let next = RequestIds::of(&answer, SystemTime::UNIX_EPOCH);
    assert_eq!(next.replaced, ReplacedIds::default(), "{answer:?}");
    assert_eq!(
        (&next.request_id, next.correlation_id),
        (&ids.request_id, ids.correlation_id)
    );
    assert_eq!(next.parent_span_id, Some(ids.span_id));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const IDS: &[&str] = &[
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00",
        "-",
        "ff",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "00f067aa0ba902b7",
        "01",
        "00000000000000000000000000000000",
        "0000000000000000",
        " ",
        "A",
        ":",
        "é",
    ];
    /// Generates values from pieces that the parser knows and from random pieces, in any order.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            6 => select(IDS).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            1 => proptest::collection::vec(any::<u8>(), 0..6),
            1 => ".{0,6}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn ids_are_passed_on_unchanged(data in pieces()) {
            if let Ok(value) = HeaderValue::from_bytes(&data) {
                fuzz_ids(&value);
            }
        }
    }
}
