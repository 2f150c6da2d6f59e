//! Builds a line as a log would store it, for fuzz tests.

use chrono::Utc;
use uuid::Uuid;

use super::layout::RunKey;
use super::line::{Envelope, EventIds, IncomingLine, LinePosition, write_line};

/// Returns a line as it is stored, with number 7.
pub(in crate::runs) fn stored_line(incoming: &IncomingLine<'_>) -> Vec<u8> {
    let run = RunKey {
        team_id: Uuid::nil(),
        run_id: Uuid::nil(),
    };
    let mut line = Vec::new();
    let position = LinePosition {
        sequence: 7,
        id: EventIds::default().next(Utc::now()),
        now: "2026-11-21T12:00:00.000000Z",
        writer: None,
    };
    write_line(&mut line, &Envelope::new(run, None), position, incoming, "api");
    line
}
