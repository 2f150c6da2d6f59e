//! `#[event_consumer]`: what it makes of a function, and what it says of a wrong one.
//!
//! Each case is a program of its own. The passing ones are also run: they define consumers, which the
//! linker would otherwise hand to every test of this binary that runs `Consumers::linked()`.
//!
//! After changing a message: `TRYBUILD=overwrite cargo test -p daybook-tests consumer_macro`, and read the diff.

#[test]
fn a_right_consumer_is_registered_and_a_wrong_one_is_told_where_and_why() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile_pass/*.rs");
    cases.compile_fail("tests/compile_fail/*.rs");
}
