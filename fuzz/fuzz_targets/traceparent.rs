//! Parses `traceparent` and `x-request-id` of a request.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybook::fuzzing::traceparent(data));
