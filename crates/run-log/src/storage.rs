//! The storage of logs, and the writer node with which a process writes to it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use uuid::Uuid;

use super::LogError;
use super::committer::Committer;
use super::file::{LogFile, lock_file};
use super::layout::{Layout, RunKey, make_folder, sync_folder};
use super::line::{Envelope, IncomingLine};
use super::log::{Appended, Log};
use super::open::{COMPLETED, recover_file};
use super::open_files::OpenFilesLimits;
use super::recovery;
use super::sealed::{Sealed, SealedLogs, remove, seal};
use super::source::Source;
use super::wal::{Disk, WalFolder};
use super::writers::Writer;

/// A folder of run logs, and the store of sealed logs.
#[derive(Debug, Clone)]
pub struct Storage {
    layout: Layout,
    sealed: Arc<dyn SealedLogs>,
}

/// The options of a writer node.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct WriterNodeOptions {
    /// The maximum size of a log, in bytes.
    pub max_log_bytes: u64,
    /// The size of a segment of the write-ahead log, in bytes. There are at most four segments.
    pub segment_bytes: u64,
    /// The maximum number of open log files, and how long an idle one stays open.
    pub open_files: OpenFilesLimits,
}

impl WriterNodeOptions {
    /// Sets the maximum size of a log, in bytes.
    #[must_use]
    pub const fn max_log_bytes(mut self, max_log_bytes: u64) -> Self {
        self.max_log_bytes = max_log_bytes;
        self
    }

    /// Sets the size of a segment of the write-ahead log, in bytes.
    #[must_use]
    pub const fn segment_bytes(mut self, segment_bytes: u64) -> Self {
        self.segment_bytes = segment_bytes;
        self
    }

    /// Sets the maximum number of open log files, and how long an idle one stays open.
    #[must_use]
    pub const fn open_files(mut self, open_files: OpenFilesLimits) -> Self {
        self.open_files = open_files;
        self
    }
}

impl Default for WriterNodeOptions {
    /// Returns options for logs of at most 1 GiB, segments of 32 MiB and 256 open files.
    fn default() -> Self {
        Self {
            max_log_bytes: 1 << 30,
            segment_bytes: 32 << 20,
            open_files: OpenFilesLimits::default(),
        }
    }
}

/// A log that was opened for writing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Opened {
    /// The log.
    pub log: Arc<Log>,
    /// The number of bytes at the end that were not a complete line. They were truncated.
    pub cut_bytes: u64,
    /// The number of unreadable lines.
    pub unreadable: u64,
    /// Whether the last line has the type [`COMPLETED`].
    pub completed: bool,
}

impl Storage {
    /// Uses the storage in this folder, with sealed logs next to the plain ones.
    pub fn new(root: impl AsRef<Path>) -> Self {
        let layout = Layout::new(root.as_ref());
        Self {
            sealed: Arc::new(layout.clone()),
            layout,
        }
    }

    /// Opens a run's log for reading, plain or sealed. Returns `None` if this storage has it in neither form.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn open(&self, run: RunKey) -> io::Result<Option<Source>> {
        // The log may be sealed between the two attempts. A sealed log never becomes plain again.
        match Source::plain(&self.layout, run) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map(Some),
        }
        match self.sealed.open(run) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => Source::sealed(opened?).map(Some),
        }
    }

    /// Seals a complete log: compresses it into a temporary file, verifies that file, and then removes the plain file.
    /// Readers that have the plain file open can continue. Returns `None` if there is no plain file here.
    ///
    /// # Errors
    /// An error of the file system; `InvalidData` if the compressed file has other content. Then the plain file stays.
    pub fn seal(&self, run: RunKey) -> io::Result<Option<Sealed>> {
        seal(&self.layout, &*self.sealed, run)
    }

    /// Returns whether this storage has or had a run's log.
    pub fn is_here(&self, run: RunKey) -> bool {
        self.layout.plain(run).parent().is_some_and(Path::is_dir)
    }

    /// Removes the empty folders of a log that was deleted.
    pub fn forget(&self, run: RunKey) {
        let plain = self.layout.plain(run);
        for folder in plain.ancestors().skip(1).take(2) {
            // A folder that is not empty is kept.
            let _ = std::fs::remove_dir(folder);
        }
    }

    /// Deletes a log, plain or sealed.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn delete(&self, run: RunKey) -> io::Result<()> {
        self.sealed.delete(run)?;
        remove(&self.layout.plain(run))
    }

    /// Returns the path of a run's log, relative to the root.
    pub fn events_path(run: RunKey) -> String {
        Layout::events_path(run)
    }

    /// Returns whether a node is alive, according to the lock of its write-ahead log. Returns `None` if its write-ahead
    /// log is not in this storage.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn is_alive(&self, node: Uuid) -> io::Result<Option<bool>> {
        let folder = self.layout.wal(node);
        if !folder.is_dir() {
            return Ok(None);
        }
        Ok(Some(WalFolder::open_abandoned(folder)?.is_none()))
    }

    /// Returns the nodes with a write-ahead log in this storage, dead or alive.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn nodes(&self) -> io::Result<Vec<Uuid>> {
        recovery::nodes(&self.layout)
    }

    /// Returns the runs of a dead node whose lines may not be in their files yet. Returns `None` if the node is alive
    /// or has no write-ahead log here.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn unrecovered_runs(&self, node: Uuid) -> io::Result<Option<Vec<RunKey>>> {
        Ok(recovery::abandoned_wal(&self.layout, node)?.map(|wal| wal.runs))
    }

    /// Writes the lines of a dead node into the files of the runs that it still owns, and removes its write-ahead log.
    ///
    /// # Errors
    /// [`LogError::Unwritable`]; then the write-ahead log is kept.
    pub fn recover(&self, node: Uuid, still_owned: &[RunKey]) -> Result<(), LogError> {
        let wal = recovery::abandoned_wal(&self.layout, node).map_err(|error| LogError::unwritable(&error))?;
        match wal {
            Some(wal) => wal.recover(&self.layout, |run| still_owned.contains(&run)),
            None => Ok(()),
        }
    }
}

/// A writer node: the part of a process that writes logs.
#[derive(Debug)]
pub struct WriterNode {
    id: Uuid,
    layout: Layout,
    max_log_bytes: u64,
    committer: Committer,
    /// The logs that this node has opened and that are still in use.
    logs: Mutex<Vec<Weak<Log>>>,
}

impl WriterNode {
    /// Starts a node in a storage: creates its write-ahead log and starts the committer, a thread.
    ///
    /// `may_write` is called before each commit. If it returns false, the commit fails, and the node writes no more.
    /// Use it if processes that don't share the storage agree by a lease on which of them writes. Otherwise pass
    /// `|| true`.
    ///
    /// # Errors
    /// [`LogError::Unwritable`].
    pub fn start(
        storage: &Storage,
        options: WriterNodeOptions,
        may_write: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Self, LogError> {
        let id = Uuid::now_v7();
        let committer = WalFolder::create(storage.layout.wal(id))
            .and_then(|folder| {
                let make =
                    |folder: &WalFolder, number, bytes| Ok(Box::new(folder.segment(number, bytes)?) as Box<dyn Disk>);
                Committer::start(
                    folder,
                    options.segment_bytes,
                    Box::new(make),
                    Box::new(may_write),
                    options.open_files,
                )
            })
            .map_err(|error| LogError::unwritable(&error))?;
        Ok(Self {
            id,
            layout: storage.layout.clone(),
            max_log_bytes: options.max_log_bytes,
            committer,
            logs: Mutex::default(),
        })
    }

    /// Returns the node's id, which is new at each start.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns whether a commit has failed. Then a new node must be started, which recovers the logs of this one.
    pub fn is_broken(&self) -> bool {
        self.committer.is_broken()
    }

    /// Opens a run's log for writing, and creates it if it does not exist. Its lines have the `configuration_id`.
    ///
    /// `epoch` is recorded in the write-ahead log with each line. It is the number of the lease with which the caller
    /// writes; a caller without leases passes 1.
    ///
    /// # Errors
    /// [`LogError::Held`], [`LogError::Unwritable`].
    pub fn open(&self, run: RunKey, epoch: u64, configuration_id: Option<&str>) -> Result<Opened, LogError> {
        let failed = |error: io::Error| LogError::unwritable(&error);
        let path = self.layout.plain(run);
        let is_new = !path.exists();
        if let Some(folder) = path.parent() {
            make_folder(folder).map_err(failed)?;
        }
        let file = lock_file(&path)?;
        if is_new && let Some(folder) = path.parent() {
            sync_folder(folder).map_err(failed)?;
        }
        let (found, damage, completed) = recover_file(&file).map_err(failed)?;
        let envelope = Envelope::new(run, configuration_id);
        let log = Log::new(
            run,
            epoch,
            envelope,
            self.max_log_bytes,
            LogFile::new(path, file),
            found,
        );
        self.committer.opened(log.clone());
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if logs.len() == logs.capacity() {
            logs.retain(|log| log.strong_count() > 0);
        }
        logs.push(Arc::downgrade(&log));
        drop(logs);
        Ok(Opened {
            log,
            cut_bytes: damage.cut_bytes,
            unreadable: damage.unreadable,
            completed: completed.is_some(),
        })
    }

    /// Appends lines to a log and waits until they are durable. Lines of a [`Writer`] that the log already has are
    /// skipped. Lines without a source of their own get `source`.
    ///
    /// # Errors
    /// [`LogError`]; then no line was appended. After [`LogError::Unwritable`] it is unknown whether lines were
    /// appended. A [`Writer`] can send them again.
    pub async fn append(
        &self,
        log: &Arc<Log>,
        lines: &[IncomingLine<'_>],
        source: &str,
        writer: Option<&Writer>,
    ) -> Result<Appended, LogError> {
        log.append(&self.committer, lines, source, writer).await
    }

    /// Appends a line of the service itself and waits until it is durable. It has no writer, and is written even if the
    /// log is full or closed.
    ///
    /// # Errors
    /// [`LogError::InvalidLine`], [`LogError::InvalidName`], [`LogError::Unwritable`].
    pub async fn append_own(&self, log: &Arc<Log>, line: IncomingLine<'_>, source: &str) -> Result<Appended, LogError> {
        if line.kind == COMPLETED {
            let reason = "its type is reserved for the last line";
            return Err(LogError::InvalidLine { index: 0, reason });
        }
        log.append_own(&self.committer, line, source).await
    }

    /// Appends the last line of a log, whose type must be [`COMPLETED`], and waits until it is durable. It is written
    /// even if the log is full or closed. The log accepts no further lines.
    ///
    /// # Errors
    /// [`LogError::InvalidLine`], [`LogError::InvalidName`]. After [`LogError::Unwritable`] the log must be opened
    /// again.
    pub async fn append_last(
        &self,
        log: &Arc<Log>,
        line: IncomingLine<'_>,
        source: &str,
    ) -> Result<Appended, LogError> {
        if line.kind != COMPLETED {
            let reason = "the last line has another type";
            return Err(LogError::InvalidLine { index: 0, reason });
        }
        log.append_own(&self.committer, line, source).await
    }

    /// Commits all pending lines, syncs the runs' own files, removes the write-ahead log and unlocks the files. Other
    /// processes can then open the logs, even while this process still has references to them.
    pub fn shut_down(&self) {
        self.committer.stop();
        let logs = std::mem::take(&mut *self.logs.lock().unwrap_or_else(PoisonError::into_inner));
        logs.iter().filter_map(Weak::upgrade).for_each(|log| log.release());
    }
}
