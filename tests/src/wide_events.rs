//! A stdout that tests can read.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use daybook::wide_events::{Sink, WideEvents};
use serde_json::Value;

use crate::PATIENCE;

/// What was written, instead of to stdout.
#[derive(Debug, Clone, Default)]
pub struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// A sink whose lines come here.
    pub fn sink(&self) -> Sink {
        Sink::new(self.clone())
    }

    /// All of it.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Every line, parsed.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'), "a line is whole");
        text.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    /// All events, once so many have begun, and everything that was begun has ended and is written.
    pub async fn settled(&self, events: &WideEvents, begun: u64) -> Vec<Value> {
        let asked = Instant::now();
        loop {
            let counts = events.counts();
            if counts.received >= begun && counts.open == 0 {
                let written = self.events();
                assert_eq!(counts.emitted, written.len() as u64);
                assert_eq!(counts.received, counts.emitted + counts.sampled_out + counts.dropped);
                return written;
            }
            assert!(asked.elapsed() < PATIENCE, "{counts:?}: {:#?}", self.events());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
