//! Parses text frames of a live socket.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| daybook::fuzzing::client_frames(data));
