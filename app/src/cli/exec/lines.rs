//! What the program has said and the service doesn't have yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::sync::Notify;

use super::child::ProgramEnd;

/// How much is kept for a service that is away, in bytes. What comes beyond it is counted.
const MAX_BUFFERED_BYTES: usize = 64 << 20;
/// How much is sent at once.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// Which of the program's streams.
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

/// LineBuffer on their way, in order.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    state: Mutex<BufferState>,
    more: Notify,
}

#[derive(Debug, Default)]
struct BufferState {
    waiting: VecDeque<BufferedEntry>,
    bytes: usize,
    ended: Option<ProgramEnd>,
    /// Nobody sends them.
    refused: bool,
}

#[derive(Debug)]
enum BufferedEntry {
    /// An event as JSON.
    Line(String),
    /// So many lines did not fit.
    Gap(u64),
}

impl LineBuffer {
    /// Takes a piece in: a line, or, with `partial`, a part of one that goes on in the stream's next piece.
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
        let mut state = self.lock();
        if state.refused {
            return;
        }
        if state.bytes + line.len() > MAX_BUFFERED_BYTES {
            match state.waiting.back_mut() {
                Some(BufferedEntry::Gap(lines)) => *lines += 1,
                _ => state.waiting.push_back(BufferedEntry::Gap(1)),
            }
        } else {
            state.bytes += line.len();
            state.waiting.push_back(BufferedEntry::Line(line));
        }
        drop(state);
        self.more.notify_one();
    }

    /// The program has ended: nothing more comes.
    pub(super) fn close(&self, ended: ProgramEnd) {
        self.lock().ended = Some(ended);
        self.more.notify_one();
    }

    /// Nobody will send them.
    pub(super) fn refuse(&self) {
        let mut state = self.lock();
        state.refused = true;
        state.waiting.clear();
        state.bytes = 0;
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// How the program ended, if it has.
    pub(super) fn ended(&self) -> Option<ProgramEnd> {
        self.lock().ended.clone()
    }

    /// Waits for more, or for the end.
    pub(super) async fn more(&self) {
        loop {
            {
                let state = self.lock();
                if !state.waiting.is_empty() || state.ended.is_some() {
                    return;
                }
            }
            self.more.notified().await;
        }
    }

    /// The next lines as NDJSON, and how many. They stay until [`LineBuffer::sent`].
    pub(super) fn batch(&self) -> (String, usize) {
        let state = self.lock();
        let mut body = String::new();
        let mut count = 0;
        for waiting in &state.waiting {
            match waiting {
                BufferedEntry::Line(line) => body.push_str(line),
                BufferedEntry::Gap(lines) => {
                    let reason = "the service was away for longer than lines could be kept";
                    let gap = json!({"type": "log.gap", "payload": {"count": lines, "reason": reason}});
                    body.push_str(&gap.to_string());
                }
            }
            body.push('\n');
            count += 1;
            // A gap that is sent must not grow.
            if body.len() >= MAX_BATCH_BYTES || matches!(waiting, BufferedEntry::Gap(_)) {
                break;
            }
        }
        (body, count)
    }

    /// The service has the first `count` of them.
    pub(super) fn sent(&self, count: usize) {
        let mut state = self.lock();
        for _ in 0..count {
            if let Some(BufferedEntry::Line(line)) = state.waiting.pop_front() {
                state.bytes -= line.len();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BufferState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_in_its_place() {
        let lines = LineBuffer::default();
        let long = vec![b'x'; 1 << 20];
        for _ in 0..70 {
            lines.push(Stream::Stdout, Utc::now(), &long, false);
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
        lines.push(Stream::Stderr, Utc::now(), b"after\r", true);
        assert!(
            lines.batch().0.contains(r#""message":"after\r","partial":true"#),
            "{}",
            lines.batch().0
        );
    }
}
