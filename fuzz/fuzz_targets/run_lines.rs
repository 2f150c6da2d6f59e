//! NDJSON lines of a run, as a client appends them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybook::fuzzing::run_lines(data));
