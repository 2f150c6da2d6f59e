//! Parses filters in a query: of run logs, runs, threads, messages and job sessions.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybook::fuzzing::filters(data));
