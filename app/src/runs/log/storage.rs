//! The storage as a process has it: its home there, from which it writes, and everything that it can read.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use uuid::Uuid;

use super::LogError;
use super::committer::{Committer, MayWrite};
use super::file::{LogFile, lock_file};
use super::layout::{Layout, RunKey, make_folder};
use super::line::{Envelope, IncomingLine};
use super::log::{Appended, Limits, Log};
use super::open::recover_file;
use super::open_files::OpenFilesLimits;
use super::recovery;
use super::sealed::{Sealed, SealedLogs, remove, seal};
use super::source::Source;
use super::wal::{Disk, WalFolder};
use super::writers::Writer;

/// A folder of runs' logs, and where the sealed ones are.
#[derive(Debug, Clone)]
pub struct Storage {
    layout: Layout,
    sealed: Arc<dyn SealedLogs>,
}

/// How a process writes.
#[derive(Debug, Clone, Copy)]
pub struct WriterNodeOptions {
    /// How large logs and lines may be.
    pub limits: Limits,
    /// How large a segment of the write-ahead log is: at most four of them are there.
    pub segment_bytes: u64,
    /// How many logs have their files open, and for how long.
    pub open_files: OpenFilesLimits,
}

/// A log that was taken up.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The log.
    pub log: Arc<Log>,
    /// So many bytes at its end were no whole line: they are cut off.
    pub cut_bytes: u64,
    /// So many lines can't be read.
    pub unreadable: u64,
    /// Its last line is the run's end.
    pub completed: bool,
}

impl Storage {
    /// The storage in this folder, the sealed logs beside the plain ones.
    pub fn new(root: impl AsRef<Path>) -> Self {
        let layout = Layout::new(root.as_ref());
        Self {
            sealed: Arc::new(layout.clone()),
            layout,
        }
    }

    /// A run's log, plain or sealed. None if it is in neither form here.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(&self, run: RunKey) -> io::Result<Option<Source>> {
        // It may be sealed between the two looks, and never the other way.
        match Source::plain(&self.layout, run) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map(Some),
        }
        match self.sealed.open(run) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => Source::sealed(opened?).map(Some),
        }
    }

    /// Seals a log that is complete.
    ///
    /// # Errors
    /// As [`seal`].
    pub fn seal(&self, run: RunKey) -> io::Result<Option<Sealed>> {
        seal(&self.layout, &*self.sealed, run)
    }

    /// Whether a run's log is kept here, or was.
    pub fn is_here(&self, run: RunKey) -> bool {
        self.layout.plain(run).parent().is_some_and(Path::is_dir)
    }

    /// Removes the empty folders of a log that was deleted.
    pub fn forget(&self, run: RunKey) {
        let plain = self.layout.plain(run);
        for folder in plain.ancestors().skip(1).take(2) {
            // Something that is in it keeps it.
            let _ = std::fs::remove_dir(folder);
        }
    }

    /// Deletes a log, in whatever form it is.
    ///
    /// # Errors
    /// What the file system says.
    pub fn delete(&self, run: RunKey) -> io::Result<()> {
        self.sealed.delete(run)?;
        remove(&self.layout.plain(run))
    }

    /// Where a run's log is, relative to the root.
    pub fn events_path(run: RunKey) -> String {
        Layout::events_path(run)
    }

    /// Whether a process lives, as far as that shows here: none if it has nothing here.
    ///
    /// # Errors
    /// What the file system says.
    pub fn is_alive(&self, node: Uuid) -> io::Result<Option<bool>> {
        let folder = self.layout.wal(node);
        if !folder.is_dir() {
            return Ok(None);
        }
        Ok(Some(WalFolder::open_abandoned(folder)?.is_none()))
    }

    /// Processes that have something here, dead or alive.
    ///
    /// # Errors
    /// What the file system says.
    pub fn nodes(&self) -> io::Result<Vec<Uuid>> {
        recovery::nodes(&self.layout)
    }

    /// The runs of a dead process with lines that may not be in their files yet. None if it lives, or has left nothing.
    ///
    /// # Errors
    /// What the file system says.
    pub fn unrecovered_runs(&self, node: Uuid) -> io::Result<Option<Vec<RunKey>>> {
        Ok(recovery::abandoned_wal(&self.layout, node)?.map(|left| left.runs))
    }

    /// Takes over what a dead process has left of these runs, and forgets the rest.
    ///
    /// # Errors
    /// [`LogError::Unwritable`]: then it is kept.
    pub fn recover(&self, node: Uuid, still_owned: &[RunKey]) -> Result<(), LogError> {
        let left = recovery::abandoned_wal(&self.layout, node).map_err(|error| LogError::unwritable(&error))?;
        match left {
            Some(left) => left.recover(&self.layout, |run| still_owned.contains(&run)),
            None => Ok(()),
        }
    }
}

/// A process that writes logs.
#[derive(Debug)]
pub struct WriterNode {
    id: Uuid,
    layout: Layout,
    limits: Limits,
    committer: Committer,
    /// Those that it has opened, as far as somebody still has them in hand.
    logs: Mutex<Vec<Weak<Log>>>,
}

impl WriterNode {
    /// Settles in a storage: a write-ahead log of its own, and the thread that commits.
    ///
    /// # Errors
    /// [`LogError::Unwritable`].
    pub fn start(storage: &Storage, options: WriterNodeOptions, may_write: MayWrite) -> Result<Self, LogError> {
        let id = Uuid::now_v7();
        let committer = WalFolder::create(storage.layout.wal(id))
            .and_then(|folder| {
                let make =
                    |folder: &WalFolder, number, bytes| Ok(Box::new(folder.segment(number, bytes)?) as Box<dyn Disk>);
                Committer::start(
                    folder,
                    options.segment_bytes,
                    Box::new(make),
                    may_write,
                    options.open_files,
                )
            })
            .map_err(|error| LogError::unwritable(&error))?;
        Ok(Self {
            id,
            layout: storage.layout.clone(),
            limits: options.limits,
            committer,
            logs: Mutex::default(),
        })
    }

    /// Its id, new at each start.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// A commit has failed: who wants to go on settles anew, and takes over what this one left.
    pub fn is_broken(&self) -> bool {
        self.committer.is_broken()
    }

    /// Takes up a run's log, or begins it.
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
            super::layout::sync_folder(folder).map_err(failed)?;
        }
        let (found, damage, completed) = recover_file(&file).map_err(failed)?;
        let envelope = Envelope::new(run, configuration_id);
        let log = Log::new(run, epoch, envelope, self.limits, LogFile::new(path, file), found);
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

    /// Takes lines into a log and waits until they are safe. Those of a [`Writer`] that are there already are not taken again.
    ///
    /// # Errors
    /// [`LogError`]; then none of them was taken in, except after [`LogError::Unwritable`]: then nobody knows, and a
    /// [`Writer`] finds out by sending them again.
    pub async fn append(
        &self,
        log: &Arc<Log>,
        lines: &[IncomingLine<'_>],
        source: &str,
        writer: Option<&Writer>,
    ) -> Result<Appended, LogError> {
        log.append(&self.committer, lines, source, writer).await
    }

    /// A line of the service's own, for which no limit holds; with `last` the log's last.
    ///
    /// # Errors
    /// [`LogError::Ended`], [`LogError::Unwritable`].
    pub async fn append_own(&self, log: &Arc<Log>, line: IncomingLine<'_>, last: bool) -> Result<Appended, LogError> {
        log.append_own(&self.committer, line, last).await
    }

    /// Commits what waits, makes everything safe in the runs' own files, and leaves nothing behind. Its logs can be opened
    /// elsewhere, even while somebody here still has them in hand.
    pub fn shut_down(&self) {
        self.committer.stop();
        let logs = std::mem::take(&mut *self.logs.lock().unwrap_or_else(PoisonError::into_inner));
        logs.iter().filter_map(Weak::upgrade).for_each(|log| log.release());
    }
}
