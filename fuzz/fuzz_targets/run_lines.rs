//! Parses NDJSON lines that a client appends to a run.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybook::fuzzing::run_lines(data));
