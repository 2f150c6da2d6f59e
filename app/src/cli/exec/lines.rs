//! Buffers the program's output until the service has it.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

use super::program_end::ProgramEnd;

/// The size of the buffer for an unavailable service, in bytes. Lines that don't fit are counted and dropped.
const MAX_BUFFERED_BYTES: usize = 64 << 20;
/// The size at which a batch is complete, in bytes.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// One of the program's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn level(self) -> &'static str {
        match self {
            Self::Stdout => "info",
            Self::Stderr => "warning",
        }
    }
}

/// The lines that wait to be sent, in order.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    state: Mutex<BufferState>,
    more: Notify,
}

#[derive(Debug, Default)]
struct BufferState {
    entries: VecDeque<BufferedEntry>,
    bytes: usize,
    program_end: Option<ProgramEnd>,
    /// Whether lines are dropped: without an upload, and after the run's log has stopped accepting lines.
    discards: bool,
}

#[derive(Debug)]
enum BufferedEntry {
    /// A line as JSON.
    Line(String),
    /// The number of lines that did not fit.
    Gap(u64),
}

impl LineBuffer {
    /// Adds a piece: a line, or, with `partial`, a part of one that continues in the stream's next piece.
    pub(super) fn push(&self, stream: Stream, at: DateTime<Utc>, text: &[u8], partial: bool) {
        let mut payload = json!({
            "stream": stream.name(),
            "level": stream.level(),
            "message": String::from_utf8_lossy(text),
        });
        if partial {
            payload["partial"] = true.into();
        }
        let line = json!({"type": "console.line", "created_at": at, "payload": payload}).to_string();
        let mut state = self.state.lock();
        if state.discards {
            return;
        }
        if state.bytes + line.len() > MAX_BUFFERED_BYTES {
            match state.entries.back_mut() {
                Some(BufferedEntry::Gap(lines)) => *lines += 1,
                _ => state.entries.push_back(BufferedEntry::Gap(1)),
            }
        } else {
            state.bytes += line.len();
            state.entries.push_back(BufferedEntry::Line(line));
        }
        drop(state);
        self.more.notify_one();
    }

    /// Records that the program has ended. No lines follow.
    pub(super) fn close(&self, program_end: ProgramEnd) {
        self.state.lock().program_end = Some(program_end);
        self.more.notify_one();
    }

    /// Drops all lines, and those that follow.
    pub(super) fn discard(&self) {
        let mut state = self.state.lock();
        state.discards = true;
        state.entries.clear();
        state.bytes = 0;
    }

    /// Returns the number of lines that wait to be sent. Dropped lines in a row count as one.
    pub(super) fn count(&self) -> usize {
        self.state.lock().entries.len()
    }

    /// Returns how the program ended, or `None` while it runs.
    pub(super) fn program_end(&self) -> Option<ProgramEnd> {
        self.state.lock().program_end.clone()
    }

    /// Waits for a line, or for the program's end.
    pub(super) async fn more(&self) {
        loop {
            {
                let state = self.state.lock();
                if !state.entries.is_empty() || state.program_end.is_some() {
                    return;
                }
            }
            self.more.notified().await;
        }
    }

    /// Returns the next lines as NDJSON, and their number. They stay in the buffer until [`LineBuffer::sent`].
    pub(super) fn batch(&self) -> (String, usize) {
        let state = self.state.lock();
        let mut body = String::new();
        let mut count = 0;
        for entry in &state.entries {
            match entry {
                BufferedEntry::Line(line) => body.push_str(line),
                BufferedEntry::Gap(lines) => {
                    let reason = "the service was unavailable and the buffer was full";
                    let gap = json!({"type": "log.gap", "payload": {"count": lines, "reason": reason}});
                    body.push_str(&gap.to_string());
                }
            }
            body.push('\n');
            count += 1;
            // A gap ends the batch, because a gap that is being sent must not grow.
            if body.len() >= MAX_BATCH_BYTES || matches!(entry, BufferedEntry::Gap(_)) {
                break;
            }
        }
        (body, count)
    }

    /// Removes the first `count` lines and gaps, which the service has stored.
    pub(super) fn sent(&self, count: usize) {
        let mut state = self.state.lock();
        for _ in 0..count {
            if let Some(BufferedEntry::Line(line)) = state.entries.pop_front() {
                state.bytes -= line.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn lines_that_do_not_fit_are_counted_in_their_place() {
        let lines = LineBuffer::default();
        let long = vec![b'x'; 1 << 20];
        for _ in 0..70 {
            lines.push(Stream::Stdout, Clock::system().now(), &long, false);
        }
        let mut kept = 0;
        let gap = loop {
            let (body, count) = lines.batch();
            lines.sent(count);
            if body.contains("log.gap") {
                break body;
            }
            kept += count;
        };
        assert!((60..64).contains(&kept), "{kept}");
        assert!(gap.contains(&format!("\"count\":{}", 70 - kept)), "{gap}");
        lines.push(Stream::Stderr, Clock::system().now(), b"after\r", true);
        assert!(
            lines.batch().0.contains(r#""message":"after\r","partial":true"#),
            "{}",
            lines.batch().0
        );
    }
}
