//! Parses cursors of pages and of live topics.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybook::fuzzing::cursors(data));
