//! The parsers of client input, as functions of bytes, for the fuzz targets in `fuzz/` and for the tests below.
//!
//! Accepted input must be written unchanged, must be readable again, and must be usable in a query. Refused input must
//! result in a client error with a message. Each function panics if its input violates one of these guarantees.

use axum::http::HeaderValue;

use crate::error::Error;
use crate::{http, jobs, live, runs, threads};

/// Parses a text frame of a live socket.
pub fn client_frames(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        live::fuzz_client_frame(text);
    }
}

/// Parses NDJSON lines of a run.
pub fn run_lines(data: &[u8]) {
    runs::fuzz_lines(data, is_client_error);
}

/// Parses cursors of pages and of live topics.
pub fn cursors(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        http::fuzz_cursor(text, is_client_error);
        live::fuzz_cursor(text);
    }
    // A cursor as a malicious client may send it: any content in the right encoding.
    http::fuzz_cursor(&http::cursor_of(data), is_client_error);
}

/// Parses `traceparent` and `x-request-id`. The crate of wide events has the property test.
#[cfg(feature = "fuzzing")]
pub fn traceparent(data: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(data) {
        crate::wide_events::fuzz_ids(&value);
    }
}

/// Parses filters in a query. The first line of `data` is the query, the second is `Last-Event-ID`, and the others are
/// lines of a log.
pub fn filters(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let query = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let Ok(uri) = format!("/?{query}").parse() else { return };
    let mut request = axum::http::Request::new(());
    *request.uri_mut() = uri;
    if let Some(Ok(id)) = parts.next().map(HeaderValue::from_bytes) {
        request.headers_mut().insert("last-event-id", id);
    }
    let (mut head, ()) = request.into_parts();
    runs::fuzz_filters(&mut head, parts.next().unwrap_or_default(), is_client_error);
    threads::fuzz_filters(&mut head, is_client_error);
    jobs::fuzz_filters(&mut head, is_client_error);
}

/// Returns whether an error is a client error with a message.
fn is_client_error(error: &Error) -> bool {
    match error {
        Error::Invalid(errors) => errors.iter().all(|error| !error.detail.is_empty()),
        Error::BadRequest { .. } | Error::TooLarge { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// Generates inputs from pieces that the parsers know and from random pieces, in any order.
    fn pieces(known: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            6 => select(known).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            1 => proptest::collection::vec(any::<u8>(), 0..6),
            1 => ".{0,6}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    const FRAMES: &[&str] = &[
        r#"{"type":"subscribe","topic":"threads","cursor":"100:105:100,102"}"#,
        r#"{"type":"subscribe","topic":"thread:01a2191e-ffd5-74bc-a537-df3bc8b25498","seq":1,"revision":2}"#,
        r#"{"type":"unsubscribe","topic":"runs"}"#,
        r#"{"type":"ping"}"#,
        "{",
        "}",
        "\"",
        ":",
        ",",
        "null",
        "1e999",
        "-0.0",
        "\"type\"",
        "\"subscribe\"",
        "\"topic\"",
        "\"threads\"",
        "\"cursor\"",
        "\"1:2:\"",
        "thread:",
        "\\u0000",
        "\\ud800",
        "[",
        "]",
    ];
    const LINES: &[&str] = &[
        r#"{"type":"console.line","payload":{"message":"hello","level":"info"}}"#,
        r#"{"type":"x","created_at":"2026-11-21T12:00:00+02:00","source":"a"}"#,
        r#"{"type":"log.gap","payload":{"count":1}}"#,
        r#"{"type":"x","payload":{"a":1e999}}"#,
        "\n",
        "\r\n",
        "{",
        "}",
        "[",
        "]",
        "\"type\":",
        "\"x\"",
        ",",
        "\"payload\":",
        "\"created_at\":",
        "\"9999-12-31T23:59:59Z\"",
        "\"0000-01-01T00:00:00Z\"",
        "1e999",
        "\\ud800",
        "\\u0000",
        "\"\"",
        "null",
        "\"a\\nb\"",
        " ",
        "\t",
    ];
    const CURSORS: &[&str] = &[
        r#"["-262143-01-01T00:00:00Z","01a2191e-ffd5-74bc-a537-df3bc8b25498"]"#,
        r#"["+262142-12-31T23:59:59Z","01a2191e-ffd5-74bc-a537-df3bc8b25498"]"#,
        r#"["2026-11-21T12:00:00Z","01a2191e-ffd5-74bc-a537-df3bc8b25498"]"#,
        "100:105:100,102",
        "0:0:",
        ":",
        ",",
        "9223372036854775807",
        "WzEsMl0",
        "[",
        "]",
        "\"",
        "-262143-01-01T00:00:00Z",
        "+262142-12-31T23:59:59Z",
        "2026-11-21T12:00:00Z",
        "01a2191e-ffd5-74bc-a537-df3bc8b25498",
        "\\u0000",
        "null",
        "1e999",
    ];
    const FILTERS: &[&str] = &[
        "from_sequence=",
        "after_sequence=",
        "type=run.*,console.line",
        "level=warn",
        "limit=",
        "follow=true",
        "since=",
        "2026-11-21T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59%2B00:00",
        "until=",
        "status=running",
        "exit_code=",
        "severity=error",
        "min_rows=",
        "cursor=",
        "before_seq=",
        "after_seq=",
        "order=desc",
        "group=true",
        "object_type=",
        "new=true",
        "job=",
        "job_id=01a2191e-ffd5-74bc-a537-df3bc8b25498",
        "&",
        "&&",
        "=",
        "%",
        "%00",
        "%ff",
        "+",
        "\n",
        r#"{"type":"console.line","created_at":"x","sequence":1,"payload":{"level":"error"}}"#,
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn frames_are_parsed_or_refused(data in pieces(FRAMES)) {
            client_frames(&data);
        }

        #[test]
        fn stored_lines_can_be_read_again(data in pieces(LINES)) {
            run_lines(&data);
        }

        #[test]
        fn cursors_are_parsed_or_refused(data in pieces(CURSORS)) {
            cursors(&data);
        }

        #[test]
        fn filters_are_parsed_or_refused(data in pieces(FILTERS)) {
            filters(&data);
        }
    }
}
