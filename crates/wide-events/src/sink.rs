//! The bounded buffer of event lines, and the thread that writes them.
//!
//! Writing to a pipe blocks while the pipe's reader is stalled. A request must never block, so it only adds its line
//! to the buffer. If the buffer is full, the line is counted as dropped. The next line that fits has the number of
//! lines that were dropped before it.
//!
//! **Invariant:** every line passed to [`Sink::send`] is counted exactly once: as emitted when the writer has accepted
//! all of its bytes, or as dropped.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Maximum number of lines in the buffer.
const MAX_BUFFERED_LINES: usize = 16_384;
/// Maximum number of bytes in the buffer.
const MAX_BUFFERED_BYTES: usize = 32 * 1024 * 1024;
/// The reserved share of both limits, as its denominator: a quarter is only for important lines (failures, clients that
/// disconnected).
const RESERVED_FRACTION: usize = 4;
/// Capacity that an emptied buffer keeps.
const RETAINED_BYTES: usize = 256 * 1024;
/// Pause of the writer between batches. It limits how often the writer is woken, and how long a line waits.
const BATCH_INTERVAL: Duration = Duration::from_millis(1);
/// Pause of the writer before it retries a non-blocking output that is full, such as a terminal.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// A buffer with a thread that writes its lines. Cheap to clone. The thread ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Sink(Arc<SinkHandle>);

/// The part that all clones share. It is separate from the state, which the writer also holds, so that its drop can
/// notify the writer when no clone is left.
#[derive(Debug)]
struct SinkHandle(Arc<SinkState>);

#[derive(Debug, Default)]
struct SinkState {
    buffer: Mutex<LineBuffer>,
    /// Wakes the writer: there are lines, or the sink was closed.
    wake_writer: Condvar,
    /// Wakes `close`: the writer has ended.
    writer_done: Condvar,
    emitted: AtomicU64,
    dropped: AtomicU64,
    /// Whether `close` has timed out. Then the lines that were being written are counted as dropped.
    abandoned: AtomicBool,
}

#[derive(Debug, Default)]
struct LineBuffer {
    lines: LineBatch,
    /// The number of lines that the writer has taken and not written yet.
    writing: usize,
    writing_bytes: usize,
    /// The number of dropped lines that no line has reported yet.
    unreported: u64,
    /// Whether the writer waits on `wake_writer`.
    writer_waits: bool,
    closed: bool,
    /// Whether the writer thread could not be started, or has ended.
    writer_ended: bool,
}

/// Consecutive lines, each with its newline.
#[derive(Debug, Default)]
struct LineBatch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The lines that report dropped lines: the line's index, and the number that it reports.
    drop_reports: Vec<(usize, u64)>,
}

/// Counts of the lines that a sink has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinkCounts {
    /// Lines that the output has accepted completely.
    pub emitted: u64,
    /// Lines that were lost, because the buffer was full or the output refused them.
    pub dropped: u64,
    /// Lines that are still in the buffer.
    pub queued: u64,
}

impl Sink {
    /// Creates a sink that writes to `writer` from its own thread.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        let state = Arc::new(SinkState::default());
        let thread = {
            let state = state.clone();
            thread::Builder::new()
                .name("wide-events".to_owned())
                .spawn(move || state.run_writer(writer))
        };
        if let Err(error) = thread {
            tracing::error!("could not start the writer thread of wide events: {error}; all events are dropped");
            let mut buffer = state.buffer();
            buffer.closed = true;
            buffer.writer_ended = true;
        }
        Self(Arc::new(SinkHandle(state)))
    }

    /// Creates a sink that writes to the process's stdout, without std's lock and buffer. If the process was started
    /// without a stdout, Rust has opened `/dev/null` in its place, which accepts everything.
    pub fn stdout() -> Self {
        use std::os::fd::AsFd as _;
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(stdout) => Self::new(std::fs::File::from(stdout)),
            Err(error) => {
                tracing::error!("could not open stdout for wide events: {error}; all events are dropped");
                Self::new(BrokenOutput)
            }
        }
    }

    /// Adds a line, without its newline, to the buffer. Never waits for the writer.
    ///
    /// An `important` line may use the whole buffer, other lines three quarters of it.
    pub fn send(&self, line: &[u8], important: bool) {
        let state = &self.0.0;
        let mut buffer = state.buffer();
        if !buffer.has_room(line.len(), important) {
            buffer.unreported += 1;
            state.dropped.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let unreported = std::mem::take(&mut buffer.unreported);
        buffer.lines.add(line, unreported);
        if std::mem::take(&mut buffer.writer_waits) {
            state.wake_writer.notify_one();
        }
    }

    /// Returns the counts of the lines so far.
    pub fn counts(&self) -> SinkCounts {
        let state = &self.0.0;
        // Reads under the lock, because a line moves from one count to another under it.
        let buffer = state.buffer();
        SinkCounts {
            emitted: state.emitted.load(Ordering::Acquire),
            dropped: state.dropped.load(Ordering::Acquire),
            queued: (buffer.lines.ends.len() + buffer.writing) as u64,
        }
    }

    /// Stops accepting lines, and waits until the buffered lines are written, at most for `timeout`. Lines that are not
    /// written by then count as dropped.
    ///
    /// Blocks the calling thread.
    pub fn close(&self, timeout: Duration) -> SinkCounts {
        let state = &self.0.0;
        let mut buffer = state.buffer();
        buffer.closed = true;
        state.wake_writer.notify_one();
        let (mut buffer, _) = state
            .writer_done
            .wait_timeout_while(buffer, timeout, |buffer| !buffer.writer_ended)
            .unwrap_or_else(PoisonError::into_inner);
        if !buffer.writer_ended {
            state.abandoned.store(true, Ordering::Release);
            let left = buffer.lines.take().ends.len() + std::mem::take(&mut buffer.writing);
            state.dropped.fetch_add(left as u64, Ordering::AcqRel);
        }
        drop(buffer);
        self.counts()
    }
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        // The writer still writes the buffered lines before it ends.
        self.0.buffer().closed = true;
        self.0.wake_writer.notify_one();
    }
}

impl LineBuffer {
    fn has_room(&self, size: usize, important: bool) -> bool {
        let limit = |max: usize| if important { max } else { max - max / RESERVED_FRACTION };
        let lines = self.lines.ends.len() + self.writing;
        let bytes = self.lines.bytes.len() + self.writing_bytes;
        !self.closed && lines < limit(MAX_BUFFERED_LINES) && bytes.saturating_add(size) <= limit(MAX_BUFFERED_BYTES)
    }
}

impl LineBatch {
    /// Adds a line. If `missing` lines were dropped before it, it reports their number.
    fn add(&mut self, line: &[u8], missing: u64) {
        if missing > 0 {
            self.drop_reports.push((self.ends.len(), missing));
        }
        match (missing, line.split_last()) {
            (1.., Some((b'}', rest))) => {
                self.bytes.extend_from_slice(rest);
                self.bytes
                    .extend_from_slice(format!(",\"dropped_before\":{missing}}}").as_bytes());
            }
            (1.., _) => {
                self.bytes.extend_from_slice(line);
                let report = format!(" ({missing} events before this one are missing)");
                self.bytes.extend_from_slice(report.as_bytes());
            }
            _ => self.bytes.extend_from_slice(line),
        }
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(RETAINED_BYTES);
        self.drop_reports.clear();
        self.ends.clear();
        self.ends.shrink_to(RETAINED_BYTES / 64);
    }
}

impl SinkState {
    fn buffer(&self) -> MutexGuard<'_, LineBuffer> {
        // A poisoned lock is safe to use: each change under it leaves the buffer consistent, and none panics.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the writer thread: writes batches until the sink is closed and empty.
    fn run_writer(&self, mut writer: impl Write) {
        let mut taken = LineBatch::default();
        let mut state = WriterState::default();
        while self.next_batch(&mut taken) {
            self.write(&taken, &mut writer, &mut state);
            taken.clear();
            if self.abandoned.load(Ordering::Acquire) {
                return;
            }
            // While lines keep coming, sleeping here is cheaper than being woken for each line.
            thread::sleep(BATCH_INTERVAL);
        }
        self.buffer().writer_ended = true;
        self.writer_done.notify_all();
    }

    /// Swaps the buffered lines with the empty `taken`. Waits until there are lines; returns false when the sink is
    /// closed and empty.
    fn next_batch(&self, taken: &mut LineBatch) -> bool {
        let mut buffer = self.buffer();
        while buffer.lines.ends.is_empty() {
            if buffer.closed {
                return false;
            }
            buffer.writer_waits = true;
            buffer = self.wake_writer.wait(buffer).unwrap_or_else(PoisonError::into_inner);
        }
        buffer.writer_waits = false;
        std::mem::swap(&mut buffer.lines, taken);
        buffer.writing = taken.ends.len();
        buffer.writing_bytes = taken.bytes.len();
        true
    }

    fn write(&self, lines: &LineBatch, writer: &mut impl Write, state: &mut WriterState) {
        let (mut written, mut counted) = (0, 0);
        let mut error = None;
        while error.is_none() && written < lines.bytes.len() {
            // After a torn line, write its missing newline first.
            let next: &[u8] = match state.torn {
                true => b"\n",
                false => lines.bytes.get(written..).unwrap_or_default(),
            };
            match writer.write(next) {
                Ok(1..) if state.torn => state.torn = false,
                Ok(0) => error = Some(ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    written += taken;
                    let rest = lines.ends.get(counted..).unwrap_or_default();
                    // A line counts as emitted without its newline, which is then written before the next line.
                    let out = rest.partition_point(|end| *end <= written + 1);
                    counted += out;
                    self.count(out, &self.emitted);
                }
                Err(interrupted) if interrupted.kind() == ErrorKind::Interrupted => {}
                // Another process that shares this file has made it non-blocking.
                Err(busy) if busy.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_INTERVAL),
                Err(refused) => error = Some(refused),
            }
        }
        let error = error.or_else(|| writer.flush().err());
        let lost = lines.ends.len() - counted;
        let last = written.checked_sub(1).and_then(|last| lines.bytes.get(last));
        state.torn |= last.is_some_and(|last| *last != b'\n');
        if lost > 0 {
            self.count(lost, &self.dropped);
            // If a lost line had a drop report, a later line reports that number again.
            let lost_reports = lines.drop_reports.iter().filter(|(line, _)| *line >= counted);
            let unreported: u64 = lost_reports.map(|(_, missing)| missing).sum();
            self.buffer().unreported += lost as u64 + unreported;
        }
        self.buffer().writing_bytes = 0;
        match error {
            Some(error) if !state.refused => {
                tracing::error!("could not write wide events: {error}; they are dropped and counted");
                state.refused = true;
            }
            None if state.refused => {
                tracing::warn!("wide events are written again");
                state.refused = false;
            }
            _ => {}
        }
    }

    /// Moves lines from `writing` to `count`.
    fn count(&self, lines: usize, count: &AtomicU64) {
        let mut buffer = self.buffer();
        if self.abandoned.load(Ordering::Acquire) {
            return;
        }
        buffer.writing = buffer.writing.saturating_sub(lines);
        count.fetch_add(lines as u64, Ordering::AcqRel);
    }
}

/// State of the writer between batches.
#[derive(Debug, Default)]
struct WriterState {
    /// Whether the last line was written only in part, so that a newline must come before the next line.
    torn: bool,
    /// Whether the last write failed. Then stderr already has a message about it.
    refused: bool,
}

/// A writer that refuses everything, for a process whose stdout can't be opened.
struct BrokenOutput;

impl Write for BrokenOutput {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
