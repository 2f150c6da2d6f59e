//! `#[event_consumer]`: what it reports about a wrong function. What it makes of a right one is tested in
//! `tests/programs` of the workspace.
//!
//! After changing a message: `TRYBUILD=overwrite cargo test -p daybook-macros`, and read the difference.

#[test]
fn a_wrong_consumer_is_reported_with_its_place_and_reason() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
