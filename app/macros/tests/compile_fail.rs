//! Tests the errors that `#[event_consumer]` reports for a wrong function. The programs in `tests/tests/programs` test
//! valid functions.
//!
//! After you change a message, run `TRYBUILD=overwrite cargo test -p daybook-macros`, and read the difference.

#[test]
fn a_wrong_consumer_is_reported_with_its_place_and_reason() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
