//! Parses what clients of live sockets send, without a socket. It is for fuzzing.

use super::frames::{ClientFrame, bad_frame};
use super::topic::Topic;
use crate::tenancy::Snapshot;

/// Parses a client's text frame.
pub(crate) fn fuzz_client_frame(text: &str) {
    match serde_json::from_str::<ClientFrame>(text) {
        Ok(ClientFrame::Subscribe { topic, cursor, .. }) => {
            assert_eq!(topic.to_string().parse::<Topic>().ok(), Some(topic));
            if let Some(cursor) = cursor {
                fuzz_cursor(&cursor);
            }
        }
        Ok(ClientFrame::Unsubscribe { topic }) => {
            assert_eq!(topic.to_string().parse::<Topic>().ok(), Some(topic));
        }
        Ok(_) => {}
        Err(error) => assert!(
            bad_frame(&error).encode().is_ok(),
            "an error frame can always be encoded"
        ),
    }
}

/// Parses a topic's cursor.
pub(crate) fn fuzz_cursor(text: &str) {
    if let Ok(snapshot) = text.parse::<Snapshot>() {
        assert_eq!(snapshot.to_string().parse(), Ok(snapshot.clone()));
        assert!(snapshot.open().iter().all(|open| (0..snapshot.next()).contains(open)));
    }
}
