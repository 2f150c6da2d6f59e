//! A log that is being written: its pending lines, its durable length, and the sequence numbers of its writers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::LogError;
use super::committer::Committer;
use super::file::LogFile;
use super::layout::RunKey;
use super::line::{
    Envelope, EventIds, IncomingLine, LinePosition, WriterMark, check_source, check_writer, format_time, write_line,
};
use super::machine_time;
use super::open::COMPLETED;
use super::synced_bytes::SyncedBytes;
use super::writers::{Writer, Writers};

/// Back-pressure limit: the maximum number of uncommitted bytes of a run. Faster senders wait.
const MAX_PENDING_BYTES: usize = 2 << 20;
/// The maximum size of the lines that one commit writes for a run. A record of the write-ahead log has a length of 32
/// bits.
const MAX_BATCH_BYTES: usize = 1 << 30;
/// The maximum capacity of a buffer that is kept for the next lines.
const MAX_KEPT_BUFFER_BYTES: usize = 64 << 10;

/// The durable part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Durable {
    /// Its length in bytes.
    pub bytes: u64,
    /// The number of its last line.
    pub sequence: u64,
    /// The reason why this process adds no more lines. `None` while it may add some.
    pub end: Option<LogEnd>,
}

/// The reason why a log gets no more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogEnd {
    /// The run has ended, and its log is complete.
    Complete,
    /// The log could not be written. It must be opened again before more lines can be written.
    Failed(Arc<str>),
}

/// The result of appending lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The number of lines that are new.
    pub appended: u64,
    /// The number of lines that the log already had.
    pub duplicates: u64,
    /// The number of the first new line; 0 if no line is new.
    pub first_sequence: u64,
    /// The number of the log's last line after these lines.
    pub last_sequence: u64,
}

/// A log of which this process is the only writer. [`WriterNode::open`](super::WriterNode::open) opens it, and the
/// writer node appends its lines.
pub struct Log {
    key: RunKey,
    epoch: u64,
    envelope: Envelope,
    max_bytes: u64,
    file: LogFile,
    pending: Mutex<PendingLines>,
    durable: watch::Sender<Durable>,
    ended: AtomicBool,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("key", &self.key)
            .field("epoch", &self.epoch)
            .field("durable", &*self.durable.borrow())
            .finish_non_exhaustive()
    }
}

/// The state of a log when it was opened.
#[derive(Debug, Default)]
pub(super) struct InitialState {
    pub(super) bytes: u64,
    pub(super) sequence: u64,
    pub(super) writers: Writers,
}

#[derive(Debug, Default)]
struct PendingLines {
    buffer: Vec<u8>,
    /// The offset in the file at which the buffer will be written.
    offset: u64,
    /// The number of the last line, including pending lines.
    sequence: u64,
    writers: Writers,
    ids: EventIds,
    queued: bool,
    /// The log accepts no more lines.
    closed: bool,
}

/// The lines that one commit writes.
#[derive(Debug)]
pub(super) struct LineBatch {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    sequence: u64,
}

impl Log {
    pub(super) fn new(
        key: RunKey,
        epoch: u64,
        envelope: Envelope,
        max_bytes: u64,
        file: LogFile,
        found: InitialState,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            epoch,
            envelope,
            max_bytes,
            file,
            ended: AtomicBool::new(false),
            durable: watch::Sender::new(Durable {
                bytes: found.bytes,
                sequence: found.sequence,
                end: None,
            }),
            pending: Mutex::new(PendingLines {
                offset: found.bytes,
                sequence: found.sequence,
                writers: found.writers,
                ..PendingLines::default()
            }),
        })
    }

    pub(super) fn key(&self) -> RunKey {
        self.key
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the file, if it is open.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.opened()
    }

    /// Closes the file until the next line, and returns it. The caller must sync it. Only the committer thread may call
    /// this.
    pub(super) fn close_file(&self) -> Option<Arc<File>> {
        let mut pending = self.pending();
        if pending.buffer.is_empty() {
            pending.buffer = Vec::new();
        }
        drop(pending);
        self.file.close()
    }

    /// Subscribes to the durable part of the log.
    pub fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
    }

    /// Returns whether writing has failed. Then the log must be opened again.
    pub fn has_failed(&self) -> bool {
        matches!(self.durable.borrow().end, Some(LogEnd::Failed(_)))
    }

    /// Appends lines and waits until they are durable. Lines of a [`Writer`] that the log already has are skipped.
    ///
    /// # Errors
    /// [`LogError`]; then no line was appended. After [`LogError::Unwritable`] it is unknown whether lines were
    /// appended. A [`Writer`] can send them again.
    pub(super) async fn append(
        self: &Arc<Self>,
        committer: &Committer,
        lines: &[IncomingLine<'_>],
        source: &str,
        writer: Option<&Writer>,
    ) -> Result<Appended, LogError> {
        check_source(source)?;
        writer.map_or(Ok(()), check_writer)?;
        for (index, line) in lines.iter().enumerate() {
            line.check(index)?;
            if line.kind == COMPLETED {
                let reason = "its type is reserved for the last line";
                return Err(LogError::InvalidLine { index, reason });
            }
        }
        let mut durable = self.durable();
        let appended = loop {
            if let Some(appended) = self.submit(committer, lines, source, writer, false)? {
                break appended;
            }
            let full = durable.borrow_and_update().bytes;
            let changed = durable.wait_for(|durable| durable.bytes != full || durable.end.is_some());
            // This never fails, because the log holds the sender.
            let _ = changed.await;
        };
        self.wait_until_safe(appended.last_sequence).await?;
        Ok(appended)
    }

    /// Appends a line of the service itself, without the size limit, and waits until it is durable. After a line of the
    /// type [`COMPLETED`], the log accepts no further lines.
    ///
    /// # Errors
    /// [`LogError::InvalidLine`], [`LogError::InvalidName`], [`LogError::Unwritable`].
    pub(super) async fn append_own(
        self: &Arc<Self>,
        committer: &Committer,
        line: IncomingLine<'_>,
        source: &str,
    ) -> Result<Appended, LogError> {
        check_source(source)?;
        line.check(0)?;
        let last = line.kind == COMPLETED;
        let appended = self.submit(committer, &[line], source, None, true)?.unwrap_or_default();
        if last {
            self.refuse_lines();
        }
        self.wait_until_safe(appended.last_sequence).await?;
        if last {
            self.ended.store(true, Ordering::Release);
        }
        Ok(appended)
    }

    /// Returns whether the log has its last line, even if [`complete`](Self::complete) was not called yet.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn refuse_lines(&self) {
        self.pending().closed = true;
    }

    /// Stops accepting lines, and waits until the accepted lines are durable.
    ///
    /// # Errors
    /// [`LogError::Unwritable`].
    pub async fn close(&self) -> Result<(), LogError> {
        self.refuse_lines();
        let last = self.pending().sequence;
        self.wait_until_safe(last).await
    }

    /// Accepts lines again, after the last line could not be written.
    pub fn reopen(&self) {
        self.pending().closed = false;
    }

    /// Syncs the log's own file, independently of the write-ahead log. Returns the number of durable bytes.
    ///
    /// # Errors
    /// [`LogError::Unwritable`].
    pub fn sync(&self) -> Result<SyncedBytes, LogError> {
        let bytes = self.durable.borrow().bytes;
        self.file.sync().map_err(|error| LogError::unwritable(&error))?;
        Ok(SyncedBytes::new(bytes))
    }

    /// Releases the file and publishes that the log is complete.
    pub fn complete(&self) {
        self.refuse_lines();
        self.file.release();
        self.durable.send_modify(|durable| {
            durable.end.get_or_insert(LogEnd::Complete);
        });
    }

    /// Adds lines to the pending lines. Returns `None` if too many bytes are pending.
    fn submit(
        self: &Arc<Self>,
        committer: &Committer,
        lines: &[IncomingLine<'_>],
        source: &str,
        writer: Option<&Writer>,
        is_service_line: bool,
    ) -> Result<Option<Appended>, LogError> {
        let mut pending = self.pending();
        if let Some(LogEnd::Failed(reason)) = &self.durable.borrow().end {
            return Err(LogError::Unwritable(reason.clone()));
        }
        if pending.closed && !is_service_line {
            return Err(LogError::Ended);
        }
        if pending.buffer.len() >= MAX_PENDING_BYTES && !is_service_line {
            return Ok(None);
        }
        let last_accepted = writer
            .map(|writer| pending.writers.last_accepted(writer))
            .transpose()?
            .unwrap_or(0);
        let begin = (pending.buffer.len(), pending.sequence);
        let when = machine_time::time_of_day();
        let now = format_time(when);
        let mut appended = Appended::default();
        for (at, incoming) in lines.iter().enumerate() {
            let mark = writer.map(|writer| WriterMark {
                id: &writer.id,
                epoch: writer.epoch,
                seq: writer.seq + at as u64,
            });
            if mark.is_some_and(|mark| mark.seq <= last_accepted) {
                appended.duplicates += 1;
                continue;
            }
            pending.sequence += 1;
            let position = LinePosition {
                sequence: pending.sequence,
                id: pending.ids.next(when),
                now: &now,
                writer: mark,
            };
            write_line(&mut pending.buffer, &self.envelope, position, incoming, source);
            appended.appended += 1;
        }
        if !is_service_line && pending.offset + pending.buffer.len() as u64 > self.max_bytes {
            (pending.sequence, _) = (begin.1, pending.buffer.truncate(begin.0));
            return Err(LogError::Full { limit: self.max_bytes });
        }
        if pending.buffer.len() > MAX_BATCH_BYTES {
            (pending.sequence, _) = (begin.1, pending.buffer.truncate(begin.0));
            return Err(LogError::TooLarge { limit: MAX_BATCH_BYTES });
        }
        if let Some(writer) = writer
            && appended.appended > 0
        {
            let last = writer.seq + lines.len() as u64 - 1;
            pending.writers.note(&writer.id, writer.epoch, last);
        }
        appended.last_sequence = pending.sequence;
        if appended.appended > 0 {
            appended.first_sequence = begin.1 + 1;
            if !std::mem::replace(&mut pending.queued, true) {
                drop(pending);
                committer.queue(self.clone());
            }
        }
        Ok(Some(appended))
    }

    async fn wait_until_safe(&self, sequence: u64) -> Result<(), LogError> {
        let mut durable = self.durable();
        let seen = durable.wait_for(|durable| durable.sequence >= sequence || durable.end.is_some());
        // This never fails, because the log holds the sender.
        let Ok(seen) = seen.await else {
            return Err(LogError::Ended);
        };
        match &seen.end {
            _ if seen.sequence >= sequence => Ok(()),
            Some(LogEnd::Failed(reason)) => Err(LogError::Unwritable(reason.clone())),
            _ => Err(LogError::Ended),
        }
    }

    /// Takes the pending lines for a commit.
    pub(super) fn take(&self) -> Option<LineBatch> {
        let mut pending = self.pending();
        pending.queued = false;
        if pending.buffer.is_empty() || self.has_failed() {
            return None;
        }
        let bytes = std::mem::take(&mut pending.buffer);
        let offset = pending.offset;
        pending.offset += bytes.len() as u64;
        Some(LineBatch {
            offset,
            bytes,
            sequence: pending.sequence,
        })
    }

    /// Writes a batch to the log's own file, and opens the file if it was closed. Only the committer thread may call
    /// this.
    pub(super) fn write_to_file(&self, piece: &LineBatch) -> io::Result<()> {
        self.file.open(piece.offset)?.write_all_at(&piece.bytes, piece.offset)
    }

    /// Publishes that a batch is durable, so that readers can see it.
    pub(super) fn committed(&self, piece: LineBatch) {
        self.durable.send_modify(|durable| {
            durable.bytes = piece.offset + piece.bytes.len() as u64;
            durable.sequence = piece.sequence;
        });
        let mut buffer = piece.bytes;
        if buffer.capacity() <= MAX_KEPT_BUFFER_BYTES {
            buffer.clear();
            let mut pending = self.pending();
            if pending.buffer.capacity() == 0 {
                pending.buffer = buffer;
            }
        }
    }

    /// Stops accepting lines. Lines that are being committed may still become durable.
    pub(super) fn fail(&self, reason: &str) {
        let mut pending = self.pending();
        pending.closed = true;
        pending.buffer = Vec::new();
        self.durable.send_if_modified(|durable| {
            let first = durable.end.is_none();
            durable.end.get_or_insert_with(|| LogEnd::Failed(reason.into()));
            first
        });
    }

    /// Unlocks the file for other processes, after the committer thread has ended.
    pub(super) fn release(&self) {
        self.file.release();
        self.fail("this process has released the log");
    }

    /// Stops accepting lines, truncates the part of the file that is not durable if that is possible, and unlocks the
    /// file. Only the committer thread may call this, because only it knows what is about to become durable.
    pub(super) fn give_up(&self, reason: &str) {
        // If this fails, the next process that opens the file truncates an incomplete last line.
        let _ = self.file.truncate(self.durable.borrow().bytes);
        // The file is unlocked before the failure is published, because a subscriber may open it.
        self.file.release();
        self.fail(reason);
    }

    fn pending(&self) -> MutexGuard<'_, PendingLines> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
