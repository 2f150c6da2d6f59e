//! Where lines go: a bounded queue, and one thread that writes.
//!
//! A pipe whose reader has stalled blocks whoever writes into it. That must not be a request: they hand their line
//! over or, if the queue is full, count it as dropped, and never wait. The next line that gets out tells how many
//! are missing before it.
//!
//! **Invariant:** every line handed over is counted once, as emitted when the writer has taken all of its bytes, or
//! as dropped.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TrySendError, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Duration;

/// Lines that may wait.
const QUEUE_LINES: usize = 16_384;
/// Bytes that may wait.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// What is kept free for lines that matter (failures, clients that left): a fourth of the queue.
const RESERVE: usize = 4;
/// So many bytes are written at once, at most, unless one line is longer.
const BATCH_BYTES: usize = 64 * 1024;
/// How long lines gather while they keep coming: what a line may wait, and how often the writer is woken at most.
const GATHER: Duration = Duration::from_millis(1);
/// How long the writer rests when the other side takes nothing without blocking, as a terminal may.
const REST: Duration = Duration::from_millis(5);

/// A queue with a thread that writes its lines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lines: RwLock<Option<mpsc::SyncSender<Line>>>,
    done: Mutex<Receiver<()>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting_lines: AtomicUsize,
    waiting_bytes: AtomicUsize,
    emitted: AtomicU64,
    dropped: AtomicU64,
    /// Dropped, and not told yet.
    untold: AtomicU64,
    /// The lines that were waiting have been counted as dropped, and are not to be counted again.
    abandoned: AtomicBool,
}

type Line = Vec<u8>;

/// What became of the lines that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinkCounts {
    /// Taken by the writer, to the last byte.
    pub emitted: u64,
    /// Lost: the queue was full, or the writer refused them.
    pub dropped: u64,
    /// Still waiting.
    pub queued: u64,
}

impl Sink {
    /// A sink that writes to `writer`, from a thread of its own.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        let (lines, taken) = mpsc::sync_channel(QUEUE_LINES);
        let (done, ended) = channel();
        let counts = Arc::new(Counts::default());
        let thread = {
            let counts = counts.clone();
            thread::Builder::new()
                .name("wide-events".to_owned())
                .spawn(move || run(writer, &taken, &counts, &done))
        };
        if let Err(error) = thread {
            // The queue has no other end then, so that each line is counted as dropped.
            tracing::error!("no thread for wide events: {error}; all are dropped");
        }
        Self(Arc::new(Shared {
            lines: RwLock::new(Some(lines)),
            done: Mutex::new(ended),
            counts,
        }))
    }

    /// A sink that writes to the process's stdout, without its lock and its buffer. If there is no stdout, every
    /// line is dropped and counted.
    pub fn stdout() -> Self {
        use std::os::fd::AsFd as _;
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(stdout) => Self::new(std::fs::File::from(stdout)),
            Err(error) => {
                tracing::error!("stdout can't be written to: {error}; wide events are dropped");
                Self::new(Closed)
            }
        }
    }

    /// Hands a line over, without its newline. Never waits.
    ///
    /// What `matters` may use all of the queue, other lines three fourths of it.
    pub fn send(&self, line: Vec<u8>, matters: bool) {
        let counts = &self.0.counts;
        let size = line.len();
        let lines = counts.waiting_lines.fetch_add(1, Ordering::Relaxed);
        let bytes = counts.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        let of = |whole: usize| if matters { whole } else { whole - whole / RESERVE };
        let has_place = lines < of(QUEUE_LINES) && bytes.saturating_add(size) <= of(QUEUE_BYTES);
        let sent = has_place && {
            let queue = self.0.lines.read().unwrap_or_else(PoisonError::into_inner);
            match queue.as_ref().map(|queue| queue.try_send(line)) {
                Some(Ok(())) => true,
                Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
            }
        };
        if !sent {
            counts.leave(1, size);
            counts.lose(1);
        }
    }

    /// What became of the lines so far.
    pub fn counts(&self) -> SinkCounts {
        let counts = &self.0.counts;
        SinkCounts {
            emitted: counts.emitted.load(Ordering::Acquire),
            dropped: counts.dropped.load(Ordering::Acquire),
            queued: counts.waiting_lines.load(Ordering::Acquire) as u64,
        }
    }

    /// Takes no more lines and waits until those that wait are written, no longer than `patience`. What isn't
    /// written by then counts as dropped.
    ///
    /// Blocks its thread.
    pub fn close(&self, patience: Duration) -> SinkCounts {
        drop(self.0.lines.write().unwrap_or_else(PoisonError::into_inner).take());
        let done = self.0.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(RecvTimeoutError::Timeout) = done.recv_timeout(patience) {
            let counts = &self.0.counts;
            counts.abandoned.store(true, Ordering::Release);
            let left = counts.waiting_lines.swap(0, Ordering::AcqRel);
            counts.lose(left as u64);
        }
        self.counts()
    }
}

impl Counts {
    fn leave(&self, lines: usize, bytes: usize) {
        // Saturating: `close` may have given up on them.
        let _ = self
            .waiting_lines
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |waiting| {
                Some(waiting.saturating_sub(lines))
            });
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn lose(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::AcqRel);
        self.untold.fetch_add(lines, Ordering::AcqRel);
    }
}

/// No stdout at all.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run(mut writer: impl Write, lines: &Receiver<Line>, counts: &Counts, done: &Sender<()>) {
    let mut batch = Batch::default();
    while let Ok(line) = lines.recv() {
        batch.add(line, counts);
        loop {
            while batch.bytes.len() < BATCH_BYTES {
                match lines.try_recv() {
                    Ok(line) => batch.add(line, counts),
                    Err(_) => break,
                }
            }
            if batch.ends.is_empty() {
                break;
            }
            let full = batch.bytes.len() >= BATCH_BYTES;
            batch.write(&mut writer, counts);
            if counts.abandoned.load(Ordering::Acquire) {
                return;
            }
            // Where lines come one after the other, a thread that sleeps between them need not be woken for each.
            if !full {
                thread::sleep(GATHER);
            }
        }
    }
    // Nobody may wait any longer.
    let _ = done.send(());
}

/// Lines on their way out.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each line ends, and how long it was when it was handed over.
    ends: Vec<(usize, usize)>,
    /// A line was cut, so that the next begins with a newline.
    torn: bool,
    /// What was told on stderr last: whether lines get out.
    refused: bool,
}

impl Batch {
    fn add(&mut self, mut line: Line, counts: &Counts) {
        let size = line.len();
        let missing = counts.untold.swap(0, Ordering::AcqRel);
        if missing > 0 {
            let told = match line.pop_if(|last| *last == b'}') {
                Some(_) => format!(",\"dropped_before\":{missing}}}"),
                None => format!(" ({missing} events before this one are missing)"),
            };
            line.extend_from_slice(told.as_bytes());
        }
        self.bytes.extend_from_slice(&line);
        self.bytes.push(b'\n');
        self.ends.push((self.bytes.len(), size));
    }

    fn write(&mut self, writer: &mut impl Write, counts: &Counts) {
        let outcome = if std::mem::take(&mut self.torn) {
            write_all(writer, b"\n")
                .1
                .map_or_else(|| write_all(writer, &self.bytes), |error| (0, Some(error)))
        } else {
            write_all(writer, &self.bytes)
        };
        let (written, error) = outcome;
        if counts.abandoned.load(Ordering::Acquire) {
            return;
        }
        let out = self.ends.iter().filter(|(end, _)| *end <= written).count();
        let whole_until = self.ends.get(out.wrapping_sub(1)).map_or(0, |(end, _)| *end);
        self.torn = written > whole_until;
        counts.emitted.fetch_add(out as u64, Ordering::AcqRel);
        counts.lose((self.ends.len() - out) as u64);
        counts.leave(self.ends.len(), self.ends.iter().map(|(_, size)| size).sum());
        match error {
            Some(error) if !self.refused => {
                tracing::error!("wide events can't be written: {error}; they are dropped and counted");
                self.refused = true;
            }
            None if self.refused => {
                tracing::warn!("wide events are written again");
                self.refused = false;
            }
            _ => {}
        }
        self.bytes.clear();
        self.bytes.shrink_to(4 * BATCH_BYTES);
        self.ends.clear();
    }
}

/// How many bytes were taken, and why not all.
fn write_all(writer: &mut impl Write, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match writer.write(rest) {
            Ok(0) => return (written, Some(ErrorKind::WriteZero.into())),
            Ok(taken) => written += taken,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody who shares this file has made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(REST),
            Err(error) => return (written, Some(error)),
        }
    }
    (written, writer.flush().err())
}
