//! A replacement for stdout that tests can read.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use daybook::wide_events::{Sink, WideEvents};
use serde_json::Value;

use crate::WAIT_LIMIT;

/// The bytes that were written to it instead of to stdout.
#[derive(Debug, Clone, Default)]
pub struct CapturedOutput(Arc<Mutex<Vec<u8>>>);

impl Write for CapturedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl CapturedOutput {
    /// Returns a sink that writes here.
    pub fn sink(&self) -> Sink {
        Sink::new(self.clone())
    }

    /// Returns everything that was written.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Returns every line, parsed.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is not complete");
        text.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    /// Waits until at least `begun` events have begun and all of them have ended and are written, then returns all
    /// events.
    pub async fn wait_for_events(&self, events: &WideEvents, begun: u64) -> Vec<Value> {
        let waiting_since = Instant::now();
        loop {
            let counts = events.counts();
            if counts.received >= begun && counts.open == 0 {
                let written = self.events();
                assert_eq!(counts.emitted, written.len() as u64);
                assert_eq!(counts.received, counts.emitted + counts.sampled_out + counts.dropped);
                return written;
            }
            assert!(waiting_since.elapsed() < WAIT_LIMIT, "{counts:?}: {:#?}", self.events());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
