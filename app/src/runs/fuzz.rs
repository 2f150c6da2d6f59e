//! Fuzz target: lines as clients send them, without a log.

use daybook_run_log::{RunKey, StoredLine, sequence_of};
use serde_json::Value;
use uuid::Uuid;

use super::incoming::{parse_line, status_in};
use crate::error::Error;

const MAX_LINE_BYTES: usize = 64 << 10;

/// Parses lines as a client appends them. Each accepted line must be stored as one line that every parser accepts.
pub(crate) fn fuzz_lines(data: &[u8], is_clients_mistake: fn(&Error) -> bool) {
    let run = RunKey {
        team_id: Uuid::nil(),
        run_id: Uuid::nil(),
    };
    for (number, line) in (1..).zip(data.split(|byte| *byte == b'\n')) {
        let incoming = match parse_line(line.trim_ascii(), MAX_LINE_BYTES, Some(number)) {
            Ok(incoming) => incoming,
            Err(error) => {
                assert!(is_clients_mistake(&error), "{error:?}");
                continue;
            }
        };
        // It must not panic for any line.
        let _ = status_in(&incoming);
        let stored = match incoming.to_stored(run, 7, "api") {
            Ok(stored) => stored,
            Err(error) => panic!("an accepted line is refused by the log: {error}"),
        };
        assert_eq!(memchr::memchr_iter(b'\n', &stored).count(), 1, "one line");
        assert!(stored.ends_with(b"}\n"), "a complete line");
        assert_eq!(sequence_of(&stored), Some(7));
        let again = StoredLine::parse(&stored);
        assert_eq!(
            again.map(|read| read.kind.into_owned()),
            Some(incoming.kind.clone().into_owned())
        );
        let value = serde_json::from_slice::<Value>(&stored);
        assert!(
            value.is_ok_and(|value| value["payload"].is_object()),
            "every parser accepts it"
        );
    }
}
