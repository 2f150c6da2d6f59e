//! A log that is written: what waits, how far it is safe, and who has sent what.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use tokio::sync::watch;

use super::LogError;
use super::committer::Committer;
use super::file::LogFile;
use super::layout::RunKey;
use super::line::{Envelope, EventIds, IncomingLine, LinePosition, WriterMark, moment, write_line};
use super::writers::{Writer, Writers};

/// How large a log and its lines may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One line as it is sent, in bytes.
    pub line_bytes: usize,
    /// A run's whole log, in bytes.
    pub run_bytes: u64,
}

/// How much of a run may wait to be committed: who sends faster waits.
const MAX_PENDING_BYTES: usize = 2 << 20;
/// What is kept of a buffer for the next lines.
const MAX_KEPT_BUFFER_BYTES: usize = 64 << 10;

/// How far a log is safe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durable {
    /// In bytes.
    pub bytes: u64,
    /// In lines: the last one's number.
    pub sequence: u64,
    /// There won't be more from here.
    pub end: Option<LogEnd>,
}

/// Why there won't be more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEnd {
    /// The run has ended, and this is its whole log.
    Complete,
    /// It could not be written: who wants to go on opens it anew.
    Failed(Arc<str>),
}

/// What became of lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// How many are new.
    pub appended: u64,
    /// How many were there already.
    pub duplicates: u64,
    /// The first new line's number; 0 if none is new.
    pub first_sequence: u64,
    /// The log's last line once these are in it.
    pub last_sequence: u64,
}

/// A log with its one writer: this process.
pub struct Log {
    key: RunKey,
    epoch: u64,
    envelope: Envelope,
    limits: Limits,
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

/// What a log had when it was opened.
#[derive(Debug, Default)]
pub(super) struct InitialState {
    pub(super) bytes: u64,
    pub(super) sequence: u64,
    pub(super) writers: Writers,
}

#[derive(Debug, Default)]
struct PendingLines {
    buffer: Vec<u8>,
    /// Where the buffer goes.
    offset: u64,
    /// The last line's number, of those that wait, too.
    sequence: u64,
    writers: Writers,
    ids: EventIds,
    queued: bool,
    /// No line is taken any more.
    closed: bool,
}

/// What a commit takes.
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
        limits: Limits,
        file: LogFile,
        found: InitialState,
    ) -> Arc<Self> {
        Arc::new(Self {
            key,
            epoch,
            envelope,
            limits,
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

    /// Its file, if that is open.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.opened()
    }

    /// Closes its file until the next line, and returns it: the caller syncs it. For the committing thread alone.
    pub(super) fn close_file(&self) -> Option<Arc<File>> {
        let mut pending = self.pending();
        if pending.buffer.is_empty() {
            pending.buffer = Vec::new();
        }
        drop(pending);
        self.file.close()
    }

    /// How far it is safe, now and from now on.
    pub fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
    }

    /// It can't be written any more: who wants to opens it anew.
    pub fn has_failed(&self) -> bool {
        matches!(self.durable.borrow().end, Some(LogEnd::Failed(_)))
    }

    /// Takes lines in and waits until they are safe. Those of a [`Writer`] that are there already are not taken again.
    ///
    /// # Errors
    /// [`LogError`]; then none of them was taken in, except after [`LogError::Unwritable`]: then nobody knows, and a
    /// [`Writer`] finds out by sending them again.
    pub(super) async fn append(
        self: &Arc<Self>,
        committer: &Committer,
        lines: &[IncomingLine<'_>],
        source: &str,
        writer: Option<&Writer>,
    ) -> Result<Appended, LogError> {
        let mut durable = self.durable();
        let appended = loop {
            if let Some(appended) = self.submit(committer, lines, source, writer, false)? {
                break appended;
            }
            let full = durable.borrow_and_update().bytes;
            let moved = durable.wait_for(|durable| durable.bytes != full || durable.end.is_some());
            // This log holds the sender.
            let _ = moved.await;
        };
        self.wait_until_safe(appended.last_sequence).await?;
        Ok(appended)
    }

    /// Takes in a line of the service's own, for which no limit holds, and waits until it is safe. With `last` it is the
    /// log's last.
    ///
    /// # Errors
    /// [`LogError::Ended`], [`LogError::Unwritable`].
    pub(super) async fn append_own(
        self: &Arc<Self>,
        committer: &Committer,
        line: IncomingLine<'_>,
        last: bool,
    ) -> Result<Appended, LogError> {
        let appended = self
            .submit(committer, &[line], "daybook", None, true)?
            .unwrap_or_default();
        if last {
            self.close();
        }
        self.wait_until_safe(appended.last_sequence).await?;
        if last {
            self.ended.store(true, Ordering::Release);
        }
        Ok(appended)
    }

    /// It has its last line: what is left is to tell the database.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.pending().closed = true;
    }

    /// Takes no line any more, and waits until those that it has taken are safe.
    ///
    /// # Errors
    /// [`LogError::Unwritable`].
    pub async fn close_when_safe(&self) -> Result<(), LogError> {
        self.close();
        let last = self.pending().sequence;
        self.wait_until_safe(last).await
    }

    /// Takes lines again, after what was to be the end could not be written.
    pub fn reopen(&self) {
        self.pending().closed = false;
    }

    /// Makes its own file safe, whatever the write-ahead log has, and returns how many bytes of it are safe.
    ///
    /// # Errors
    /// [`LogError::Unwritable`].
    pub fn sync(&self) -> Result<u64, LogError> {
        let bytes = self.durable.borrow().bytes;
        self.file.sync().map_err(|error| LogError::unwritable(&error))?;
        Ok(bytes)
    }

    /// Tells readers that this is the whole log.
    pub fn complete(&self) {
        self.close();
        self.file.release();
        self.durable.send_modify(|durable| {
            durable.end.get_or_insert(LogEnd::Complete);
        });
    }

    /// None if too much waits already.
    fn submit(
        self: &Arc<Self>,
        committer: &Committer,
        lines: &[IncomingLine<'_>],
        source: &str,
        writer: Option<&Writer>,
        own: bool,
    ) -> Result<Option<Appended>, LogError> {
        let mut pending = self.pending();
        if let Some(LogEnd::Failed(reason)) = &self.durable.borrow().end {
            return Err(LogError::Unwritable(reason.clone()));
        }
        if pending.closed && !own {
            return Err(LogError::Ended);
        }
        if pending.buffer.len() >= MAX_PENDING_BYTES && !own {
            return Ok(None);
        }
        let known = writer
            .map(|writer| pending.writers.last_accepted(writer))
            .transpose()?
            .unwrap_or(0);
        let begin = (pending.buffer.len(), pending.sequence);
        let when = Utc::now();
        let now = moment(when);
        let mut appended = Appended::default();
        for (at, incoming) in lines.iter().enumerate() {
            let mark = writer.map(|writer| WriterMark {
                id: &writer.id,
                epoch: writer.epoch,
                seq: writer.seq + at as u64,
            });
            if mark.is_some_and(|mark| mark.seq <= known) {
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
        if !own && pending.offset + pending.buffer.len() as u64 > self.limits.run_bytes {
            (pending.sequence, _) = (begin.1, pending.buffer.truncate(begin.0));
            return Err(LogError::Full {
                limit: self.limits.run_bytes,
            });
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
        // This log holds the sender.
        let Ok(seen) = seen.await else {
            return Err(LogError::Ended);
        };
        match &seen.end {
            _ if seen.sequence >= sequence => Ok(()),
            Some(LogEnd::Failed(reason)) => Err(LogError::Unwritable(reason.clone())),
            _ => Err(LogError::Ended),
        }
    }

    /// What waits, for a commit.
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

    /// Writes them into the log's own file, which is opened for it if it was closed. For the committing thread alone.
    pub(super) fn write_to_file(&self, piece: &LineBatch) -> io::Result<()> {
        self.file.open(piece.offset)?.write_all_at(&piece.bytes, piece.offset)
    }

    /// They are safe: who reads may see them.
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

    /// Takes no more lines. What is being committed may still become safe.
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

    /// Lets others have the file, once the committing thread has ended.
    pub(super) fn release(&self) {
        self.file.release();
        self.fail("this process has let it go");
    }

    /// Takes no more lines, takes back what is not safe as far as that is possible, and lets others have the file. For the
    /// committing thread alone: nobody else knows what is about to be safe.
    pub(super) fn give_up(&self, reason: &str) {
        // Who opens it next cuts it, too, as far as it can tell.
        let _ = self.file.truncate(self.durable.borrow().bytes);
        // Before it is told: who hears of it may open it.
        self.file.release();
        self.fail(reason);
    }

    fn pending(&self) -> MutexGuard<'_, PendingLines> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
