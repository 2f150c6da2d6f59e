//! Where lines go: a bounded buffer, and one thread that writes.
//!
//! A pipe whose reader has stalled blocks whoever writes into it. That must not be a request: they add their line to
//! the buffer or, if it is full, count it as dropped, and never wait. The next line that finds a place tells how many
//! are missing before it.
//!
//! **Invariant:** every line handed over is counted once, as emitted when the writer has taken all of its bytes, or
//! as dropped.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines that may wait.
const MAX_LINES: usize = 16_384;
/// Bytes that may wait.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// What is kept free for lines that matter (failures, clients that left): a fourth of each.
const RESERVE: usize = 4;
/// What a buffer keeps of its memory when it is empty.
const KEPT_BYTES: usize = 256 * 1024;
/// How long lines gather while they keep coming: what a line may wait, and how often the writer is woken at most.
const GATHER: Duration = Duration::from_millis(1);
/// How long the writer rests when the other side takes nothing without blocking, as a terminal may.
const REST: Duration = Duration::from_millis(5);

/// A buffer with a thread that writes its lines. Cheap to clone; the thread ends with the last clone.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Handle>);

/// What all clones share. The writer has the rest, so that it learns when they are gone.
#[derive(Debug)]
struct Handle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Lines have come, or no more will.
    more: Condvar,
    /// The writer is done.
    done: Condvar,
    emitted: AtomicU64,
    dropped: AtomicU64,
    /// Nobody waits for what is being written any more; it has been counted as dropped.
    abandoned: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Lines,
    /// Of those that the writer has taken and not written yet.
    writing: usize,
    writing_bytes: usize,
    /// Dropped, and not told yet.
    untold: u64,
    /// The writer sleeps until it is told.
    asleep: bool,
    closed: bool,
    /// There is no writer, or it has ended.
    ended: bool,
}

/// Lines with their newlines, one after the other.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Which lines tell how many are missing before them.
    told: Vec<(usize, u64)>,
}

/// What became of the lines that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinkCounts {
    /// Taken by the writer, to the last byte.
    pub emitted: u64,
    /// Lost: the buffer was full, or the writer refused them.
    pub dropped: u64,
    /// Still waiting.
    pub queued: u64,
}

impl Sink {
    /// A sink that writes to `writer`, from a thread of its own.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = shared.clone();
            thread::Builder::new()
                .name("wide-events".to_owned())
                .spawn(move || shared.write_to(writer))
        };
        if let Err(error) = thread {
            tracing::error!("no thread for wide events: {error}; all are dropped");
            let mut waiting = shared.waiting();
            waiting.closed = true;
            waiting.ended = true;
        }
        Self(Arc::new(Handle(shared)))
    }

    /// A sink that writes to the process's stdout, without its lock and its buffer. A process that is started without
    /// one has `/dev/null` in its place, which takes everything.
    pub fn stdout() -> Self {
        use std::os::fd::AsFd as _;
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(stdout) => Self::new(std::fs::File::from(stdout)),
            Err(error) => {
                tracing::error!("stdout can't be written to: {error}; wide events are dropped");
                Self::new(Nowhere)
            }
        }
    }

    /// Hands a line over, without its newline. Never waits for the writer.
    ///
    /// What `matters` may use all of the buffer, other lines three fourths of it.
    pub fn send(&self, line: &[u8], matters: bool) {
        let shared = &self.0.0;
        let mut waiting = shared.waiting();
        if !waiting.has_place(line.len(), matters) {
            waiting.untold += 1;
            shared.dropped.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let untold = std::mem::take(&mut waiting.untold);
        waiting.lines.add(line, untold);
        if std::mem::take(&mut waiting.asleep) {
            shared.more.notify_one();
        }
    }

    /// What became of the lines so far.
    pub fn counts(&self) -> SinkCounts {
        let shared = &self.0.0;
        // Under the lock, so that no line is between two counts.
        let waiting = shared.waiting();
        SinkCounts {
            emitted: shared.emitted.load(Ordering::Acquire),
            dropped: shared.dropped.load(Ordering::Acquire),
            queued: (waiting.lines.ends.len() + waiting.writing) as u64,
        }
    }

    /// Takes no more lines and waits until those that wait are written, no longer than `patience`. What isn't
    /// written by then counts as dropped.
    ///
    /// Blocks its thread.
    pub fn close(&self, patience: Duration) -> SinkCounts {
        let shared = &self.0.0;
        let mut waiting = shared.waiting();
        waiting.closed = true;
        shared.more.notify_one();
        let (mut waiting, _) = shared
            .done
            .wait_timeout_while(waiting, patience, |waiting| !waiting.ended)
            .unwrap_or_else(PoisonError::into_inner);
        if !waiting.ended {
            shared.abandoned.store(true, Ordering::Release);
            let left = waiting.lines.take().ends.len() + std::mem::take(&mut waiting.writing);
            shared.dropped.fetch_add(left as u64, Ordering::AcqRel);
        }
        drop(waiting);
        self.counts()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // What waits is still written.
        self.0.waiting().closed = true;
        self.0.more.notify_one();
    }
}

impl Waiting {
    fn has_place(&self, size: usize, matters: bool) -> bool {
        let of = |whole: usize| if matters { whole } else { whole - whole / RESERVE };
        let lines = self.lines.ends.len() + self.writing;
        let bytes = self.lines.bytes.len() + self.writing_bytes;
        !self.closed && lines < of(MAX_LINES) && bytes.saturating_add(size) <= of(MAX_BYTES)
    }
}

impl Lines {
    /// Adds a line that tells how many are missing before it.
    fn add(&mut self, line: &[u8], missing: u64) {
        if missing > 0 {
            self.told.push((self.ends.len(), missing));
        }
        match (missing, line.split_last()) {
            (1.., Some((b'}', rest))) => {
                self.bytes.extend_from_slice(rest);
                self.bytes
                    .extend_from_slice(format!(",\"dropped_before\":{missing}}}").as_bytes());
            }
            (1.., _) => {
                self.bytes.extend_from_slice(line);
                let told = format!(" ({missing} events before this one are missing)");
                self.bytes.extend_from_slice(told.as_bytes());
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
        self.bytes.shrink_to(KEPT_BYTES);
        self.told.clear();
        self.ends.clear();
        self.ends.shrink_to(KEPT_BYTES / 64);
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // It is whole after each of the few steps that are made under it, none of which panics.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's life.
    fn write_to(&self, mut writer: impl Write) {
        let mut taken = Lines::default();
        let mut state = Writing::default();
        while self.next(&mut taken) {
            self.write(&taken, &mut writer, &mut state);
            taken.clear();
            if self.abandoned.load(Ordering::Acquire) {
                return;
            }
            // Where lines come one after the other, a thread that sleeps between them need not be woken for each.
            thread::sleep(GATHER);
        }
        self.waiting().ended = true;
        self.done.notify_all();
    }

    /// Takes what waits in exchange for an empty buffer; waits for it if need be. False at the end.
    fn next(&self, taken: &mut Lines) -> bool {
        let mut waiting = self.waiting();
        while waiting.lines.ends.is_empty() {
            if waiting.closed {
                return false;
            }
            waiting.asleep = true;
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.asleep = false;
        std::mem::swap(&mut waiting.lines, taken);
        waiting.writing = taken.ends.len();
        waiting.writing_bytes = taken.bytes.len();
        true
    }

    fn write(&self, lines: &Lines, writer: &mut impl Write, state: &mut Writing) {
        let (mut written, mut counted) = (0, 0);
        let mut error = None;
        while error.is_none() && written < lines.bytes.len() {
            // The rest of a line that was cut has its end first.
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
                    // A line is out when all but its newline is, which then comes before the next.
                    let out = rest.partition_point(|end| *end <= written + 1);
                    counted += out;
                    self.count(out, &self.emitted);
                }
                Err(interrupted) if interrupted.kind() == ErrorKind::Interrupted => {}
                // Somebody who shares this file has made it non-blocking.
                Err(busy) if busy.kind() == ErrorKind::WouldBlock => thread::sleep(REST),
                Err(refused) => error = Some(refused),
            }
        }
        let error = error.or_else(|| writer.flush().err());
        let lost = lines.ends.len() - counted;
        let last = written.checked_sub(1).and_then(|last| lines.bytes.get(last));
        state.torn |= last.is_some_and(|last| *last != b'\n');
        if lost > 0 {
            self.count(lost, &self.dropped);
            // What a lost line should have told is told by a later one.
            let told = lines.told.iter().filter(|(line, _)| *line >= counted);
            let untold: u64 = told.map(|(_, missing)| missing).sum();
            self.waiting().untold += lost as u64 + untold;
        }
        self.waiting().writing_bytes = 0;
        match error {
            Some(error) if !state.refused => {
                tracing::error!("wide events can't be written: {error}; they are dropped and counted");
                state.refused = true;
            }
            None if state.refused => {
                tracing::warn!("wide events are written again");
                state.refused = false;
            }
            _ => {}
        }
    }

    /// Moves lines from those that are being written to `count`.
    fn count(&self, lines: usize, count: &AtomicU64) {
        let mut waiting = self.waiting();
        if self.abandoned.load(Ordering::Acquire) {
            return;
        }
        waiting.writing = waiting.writing.saturating_sub(lines);
        count.fetch_add(lines as u64, Ordering::AcqRel);
    }
}

/// What a writer remembers from one batch to the next.
#[derive(Debug, Default)]
struct Writing {
    /// A line was cut, so that the next begins with a newline.
    torn: bool,
    /// What was told on stderr last.
    refused: bool,
}

/// No stdout at all.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
