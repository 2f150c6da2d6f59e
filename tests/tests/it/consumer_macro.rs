//! `#[event_consumer]`: what it says of a wrong function. What it makes of a right one is in `tests/programs`.
//!
//! After changing a message: `TRYBUILD=overwrite cargo test -p daybook-tests consumer_macro`, and read the diff.

#[test]
fn a_wrong_consumer_is_told_where_and_why() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
